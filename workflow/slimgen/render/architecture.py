"""Reading found architectures: kernels and widths of blocks, share that changed, who uses which."""

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


def width_shares(arch: dict[str, Any], block: str) -> list[float]:
    """Return the inner width of each ResBlock of a block, of the base's: 1 where not chosen."""
    count = len(arch["kernels"][block]) // 2
    if "widths" not in arch:
        return [1.0] * count
    pairs = zip(arch["widths"][block], arch["base_widths"][block], strict=True)
    return [width / base for width, base in pairs]


def mean_width(arch: dict[str, Any]) -> float | None:
    """Return the channels inside the ResBlocks, of the base's; None where they were no choice."""
    if "widths" not in arch:
        return None
    kept, all_ = (sum(map(sum, arch[key].values())) for key in ("widths", "base_widths"))
    return kept / all_


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
