"""A table as a value, written as CSV (all digits), Markdown and LaTeX (rounded).

The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slimgen.data.files import write_text
from slimgen.render.number import Number, exact, show

Cell = Number | str | None

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "<": r"$<$",
    ">": r"$>$",
    "λ": r"$\lambda$",
    "–": "--",
}


@dataclass(frozen=True)
class Column:
    """A column: its header, and the format of its numbers ("" for text)."""

    name: str
    spec: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells by column name; a missing or None cell is empty, never invented."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()

    def shown(self) -> Table:
        """Return the table without the columns that hold nothing."""
        used = tuple(
            c for c in self.columns if any(row.get(c.name) is not None for row in self.rows)
        )
        return Table(self.name, self.title, used, self.rows, self.notes)


def as_csv(table: Table) -> str:
    """Return the CSV: means with all digits, and a column `NAME sd` where a cell has a spread."""
    spread = {
        column.name
        for column in table.columns
        for row in table.rows
        if isinstance(cell := row.get(column.name), Number) and cell.sd
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header: list[str] = []
    for column in table.columns:
        header += [column.name, f"{column.name} sd"] if column.name in spread else [column.name]
    writer.writerow(header)
    for row in table.rows:
        line: list[str] = []
        for column in table.columns:
            cell = row.get(column.name)
            number = cell if isinstance(cell, Number) else None
            line.append(exact(number.mean) if number else str(cell or ""))
            if column.name in spread:
                line.append(exact(number.sd) if number and number.sd is not None else "")
        writer.writerow(line)
    return out.getvalue()


def as_text(cell: Cell, column: Column) -> str:
    """Return a cell as it is read in Markdown and LaTeX."""
    return show(cell, column.spec) if isinstance(cell, Number) else (cell or "")


def as_markdown(table: Table) -> str:
    """Return the table in Markdown: title, table, notes."""
    lines = [f"**{table.title}**", ""]
    lines.append("| " + " | ".join(column.name for column in table.columns) + " |")
    lines.append("|" + "|".join("---:" if column.spec else "---" for column in table.columns) + "|")
    for row in table.rows:
        cells = [as_text(row.get(column.name), column) for column in table.columns]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Return the table in LaTeX (packages booktabs and graphicx)."""
    layout = "".join("r" if column.spec else "l" for column in table.columns)
    lines = [r"\begin{table}", r"\centering", r"\resizebox{\textwidth}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
    lines.append(" & ".join(escape(column.name) for column in table.columns) + r" \\")
    lines.append(r"\midrule")
    for row in table.rows:
        cells = [escape(as_text(row.get(column.name), column)) for column in table.columns]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines.append(rf"\caption{{{escape(' '.join((table.title + '.', *table.notes)))}}}")
    lines += [rf"\label{{tab:{table.name}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that LaTeX prints as it stands."""
    return "".join(LATEX.get(character, character) for character in text)


def write_table(table: Table, folder: Path) -> None:
    """Write `{name}.csv`, `.md` and `.tex` into the folder, without empty columns."""
    table = table.shown()
    for suffix, text in (
        ("csv", as_csv(table)),
        ("md", as_markdown(table)),
        ("tex", as_latex(table)),
    ):
        write_text(folder / f"{table.name}.{suffix}", text)
