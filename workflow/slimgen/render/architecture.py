"""Reading found architectures: kernels of every block, share that changed, who uses which."""

from __future__ import annotations

from typing import Any

from slimgen.render.results import Results
from slimgen.training.job import StageError

BASE = "base"


def read_arch(results: Results, search: str, seed: int) -> dict[str, Any]:
    """Return the arch.json of a search.

    Raises StageError naming the file where what the tables read is missing.
    """
    content = results.arch(search, seed)
    for key in ("kernels", "convs", "changed_convs", "relative_cost", "is_base"):
        if key not in content:
            path = results.folder("dbnas.search", search, seed) / "arch.json"
            raise StageError(f"{path}: no {key!r} in it")
    return content


def search_of(results: Results, row: str) -> str | None:
    """Return the search whose architecture a row of dbnas retrains; None for the base."""
    search = results.stage_settings("dbnas.student", row).get("search")
    return None if search == BASE else search


def searches(results: Results) -> tuple[str, ...]:
    """Return the searches behind the rows of dbnas, in the order of the table."""
    found = (search_of(results, row) for row in results.settings.rows("dbnas"))
    return tuple(dict.fromkeys(search for search in found if search is not None))


def spaces(results: Results) -> tuple[str, ...]:
    """Return the supernets that the searches looked into."""
    found = (results.stage_settings("dbnas.search", name)["supernet"] for name in searches(results))
    return tuple(dict.fromkeys(found))
