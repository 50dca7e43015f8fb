"""Published numbers, each with its source and how far it could be checked.

V: read in a primary source (paper text, official code or README); S: in a summary of the paper that
the official README confirms; A: in the abstract. A number that is only remembered is not kept here.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimgen.render.table import Cell

FILE = Path(__file__).with_name("published_numbers.csv")
FIELDS = ("system", "row", "dataset", "metric", "sampler", "value", "source", "trust")
TRUSTED = ("V", "S", "A")
DEFAULT_DATASET = "cifar10"  # where the papers report their main tables
SOURCE = "published: source"
METRICS = {"fid": "FID", "inception_score": "IS"}  # in the order of their columns


@dataclass(frozen=True)
class Published:
    """One published number; `value` keeps the digits of its source."""

    system: str
    row: str
    dataset: str
    metric: str
    sampler: str
    value: str
    source: str
    trust: str


def read_published(path: Path = FILE) -> tuple[Published, ...]:
    """Read the file of published numbers.

    Raises ValueError naming the line where a field is missing, the value is no number, or the trust
    tag does not allow printing it.
    """
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    numbers = []
    for count, line in enumerate(lines, start=2):
        if tuple(line) != FIELDS or None in line.values() or not line["source"]:
            raise ValueError(f"{path}:{count}: needs the fields {', '.join(FIELDS)} and a source")
        if line["trust"] not in TRUSTED:
            raise ValueError(f"{path}:{count}: trust {line['trust']!r} is not {', '.join(TRUSTED)}")
        float(line["value"])
        numbers.append(Published(**line))
    return tuple(numbers)


def published_for(systems: Sequence[str], dataset: str) -> tuple[Published, ...]:
    """Return the numbers of some systems on a data set, or on CIFAR-10 where it has none."""
    every = [number for number in read_published() if number.system in systems]
    here = [number for number in every if number.dataset == dataset]
    return tuple(here or [number for number in every if number.dataset == DEFAULT_DATASET])


def value_column(number: Published) -> str:
    """Return the name of a published value's column: it says metric, data set and protocol."""
    return f"published: {METRICS[number.metric]} ({number.dataset}, Inception)"


def value_columns(numbers: Sequence[Published]) -> tuple[str, ...]:
    """Return the names of the columns of published values, metric after metric."""
    order = sorted(numbers, key=lambda number: list(METRICS).index(number.metric))
    return tuple(dict.fromkeys(value_column(number) for number in order))


def published_rows(numbers: Sequence[Published], first: str) -> list[dict[str, Cell]]:
    """Return one row per published model; nothing of ours stands in it."""
    rows: dict[str, dict[str, Cell]] = {}
    for number in numbers:
        row = rows.setdefault(number.row, {first: f"published: {number.row}"})
        column = value_column(number)
        shown = f"{number.value} ({number.sampler})" if number.sampler else number.value
        row[column] = f"{row[column]}, {shown}" if row.get(column) else shown
        sources = str(row.get(SOURCE) or "")
        if number.source not in sources:
            row[SOURCE] = f"{sources}; {number.source}" if sources else number.source
    return list(rows.values())
