"""Reading what AutoGAN's searches and derived generators left: rewards, selections, codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slimgen.config.autogan_code import token_sizes
from slimgen.config.rows import made_by
from slimgen.render.results import Results, read_object
from slimgen.training.job import StageError

SYSTEM = "autogan"
CONVS, NORMS = ("post", "pre"), ("none", "bn", "in")
UPS = ("bilinear", "nearest", "deconv")


@dataclass(frozen=True)
class CellChoice:
    """One cell of a generator in words; `skips` are the earlier cells whose features it adds."""

    conv: str
    norm: str
    up: str
    shortcut: bool
    skips: tuple[int, ...]


@dataclass(frozen=True)
class Reward:
    """One line of candidates.csv: when which architecture got which Inception score."""

    step: int
    stage: int
    kind: str
    code: str
    score: float
    kept: bool


@dataclass(frozen=True)
class Derived:
    """One architecture that was trained from scratch, with its score under shared weights."""

    row: str
    seed: int
    code: tuple[int, ...]
    shared_score: float | None
    score: float
    distance: float
    chosen: bool


def cells_of(code: tuple[int, ...]) -> tuple[CellChoice, ...]:
    """Return the cells that an architecture's integers name."""
    cells, rest = list[CellChoice](), list(code)
    while rest:
        index = len(cells)
        count = len(token_sizes(index))
        conv, norm, up, shortcut, *skips = rest[:count]
        bits = f"{skips[0]:0{index}b}" if skips else ""
        received = tuple(i for i, bit in enumerate(bits) if bit == "1")
        cells.append(CellChoice(CONVS[conv], NORMS[norm], UPS[up], bool(shortcut), received))
        rest = rest[count:]
    return tuple(cells)


def code_text(code: tuple[int, ...]) -> str:
    """Return the integers as the release prints them."""
    return " ".join(map(str, code))


def student_rows(results: Results) -> tuple[str, ...]:
    """Return the rows that were derived on the run's own data set."""
    rows = results.settings.rows(SYSTEM)
    return tuple(row for row in rows if made_by(SYSTEM, row)[0] == "autogan.student")


def transfer_rows(results: Results) -> tuple[str, ...]:
    """Return the rows whose architecture was trained on another data set."""
    rows = results.settings.rows(SYSTEM)
    return tuple(row for row in rows if made_by(SYSTEM, row)[0] == "autogan.transfer")


def search_of(results: Results, row: str) -> str | None:
    """Return the search behind a derived row; None where its settings name the architecture."""
    settings = results.stage_settings("autogan.student", row)
    return None if settings.get("arch") is not None else settings["search"]


def searches(results: Results) -> tuple[str, ...]:
    """Return the searches behind the rows, in the order of the table."""
    found = (search_of(results, row) for row in student_rows(results))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def counts(results: Results, search: str, key: str) -> tuple[int, ...]:
    """Return a count that a search recorded, `rewards` or `resets`, one per seed."""
    found = []
    for seed in results.settings.seeds:
        count = results.arch(search, seed, SYSTEM).get(key)
        if not isinstance(count, int):
            path = results.folder("autogan.search", search, seed) / "arch.json"
            raise StageError(f"{path}: {key} is no number")
        found.append(count)
    return tuple(found)


def rewards(results: Results, search: str, seed: int) -> list[Reward]:
    """Return every reward of a search in its order."""
    path = results.folder("autogan.search", search, seed) / "candidates.csv"
    try:
        return [
            Reward(
                int(line["step"]),
                int(line["stage"]),
                line["kind"],
                line["code"],
                float(line["inception_score"]),
                line["kept"] == "1",
            )
            for line in results.candidates(search, seed, SYSTEM)
        ]
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None


def selection(results: Results, row: str, seed: int) -> list[Derived]:
    """Return the architectures that a row trained from scratch; one of them is chosen."""
    path = results.folder("autogan.student", row, seed) / "selection.json"
    content: dict[str, Any] = read_object(path)
    try:
        return [
            Derived(
                row,
                seed,
                tuple(item["code"]),
                item["shared_inception_score"],
                item["inception_score"],
                item["frechet_distance"],
                number == content["chosen"],
            )
            for number, item in enumerate(content["candidates"])
        ]
    except (KeyError, TypeError) as error:
        raise StageError(f"{path}: not a selection ({error!r})") from None


def derived_counts(results: Results, row: str) -> tuple[int, ...]:
    """Return how many networks a row trained from scratch, seed after seed."""
    return tuple(len(selection(results, row, seed)) for seed in results.settings.seeds)


def chosen(results: Results, row: str, seed: int) -> Derived:
    """Return the architecture that a row reports."""
    return next(item for item in selection(results, row, seed) if item.chosen)
