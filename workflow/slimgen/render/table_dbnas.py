"""Table of DBNAS: teacher, control, searched nets, ablations; size, search, quality per sampler."""

from __future__ import annotations

from slimgen.render.architecture import mean_width, read_arch, search_of, searches
from slimgen.render.number import Number
from slimgen.render.published import published_for, published_rows
from slimgen.render.results import TEACHER, Results
from slimgen.render.rows import (
    LATENCY,
    MACS,
    PARAMS,
    ROW,
    TIMES_NOTE,
    Row,
    fid_column,
    protocol_notes,
    published_columns,
    q_column,
    quality_cells,
    reference_rows,
    size_cells,
)
from slimgen.render.table import Column, Table

SAMPLERS = ("ddim-10", "ddim-20", "ddim-50", "ddim-100", "dpm-10", "dpm-20")
R = Column("r", "g")
CHANGED = Column("convs changed (%)", ".0f")
WIDTH = Column("inner width (%)", ".0f")
COST = Column("searchable cost (%)", ".0f")
WIDTH_NOTE = (
    "Inner width: channels between the two convs of the ResBlocks, of the base's; empty where the "
    "search chooses kernel sizes alone. A conv is changed by another kernel size or by fewer "
    "channels. r holds within a supernet: one that shares widths has another base loss."
)


def samplers(results: Results) -> tuple[str, ...]:
    """Return the samplers of the paper's table that were measured, then others of the nets."""
    nets = [
        setting
        for row in results.settings.rows("dbnas")
        for setting in results.settings_of("dbnas", row)
    ]
    measured = {*nets, *results.settings_of(TEACHER, results.settings.dataset)}
    paper = (setting for setting in SAMPLERS if setting in measured)
    return tuple(dict.fromkeys((*paper, *nets)))


def search_cells(results: Results, row: str) -> Row:
    """Return r, convs changed, inner width and cost relative to the base; empty for the base."""
    search = search_of(results, row)
    if search is None:
        return {}
    settings = results.stage_settings("dbnas.search", search)
    archs = [read_arch(results, search, seed) for seed in results.settings.seeds]
    shares = [arch["changed_convs"] / arch["convs"] for arch in archs]
    costs = [arch["relative_cost"] for arch in archs]
    widths = [width for arch in archs if (width := mean_width(arch)) is not None]
    r = Number((settings["r"],)) if settings["method"] != "random" else None
    return {
        R.name: r,
        CHANGED.name: Number(tuple(shares)).scaled(100),
        WIDTH.name: Number(tuple(widths)).scaled(100) if widths else None,
        COST.name: Number(tuple(costs)).scaled(100),
    }


def base_notes(results: Results) -> tuple[str, ...]:
    """Return a sentence for every search that found nothing cheaper than the base."""
    notes = []
    for search in searches(results):
        seeds = [s for s in results.settings.seeds if read_arch(results, search, s)["is_base"]]
        if seeds:
            names = ", ".join(str(seed) for seed in seeds)
            notes.append(f"Search {search} found nothing cheaper than the base (seed {names}).")
    return tuple(notes)


def dbnas_table(results: Results) -> Table:
    """Return the table of DBNAS."""
    labels = samplers(results)
    rows: list[Row] = []
    for system, row in (
        (TEACHER, results.settings.dataset),
        *(("dbnas", row) for row in results.settings.rows("dbnas")),
    ):
        cells: Row = {ROW.name: TEACHER if system == TEACHER else row}
        cells |= size_cells(results, system, row)
        cells |= search_cells(results, row) if system == "dbnas" else {}
        for label in labels:
            cells |= quality_cells(results, system, row, label, label)
        rows.append(cells)
    widths = (WIDTH,) if any(row.get(WIDTH.name) for row in rows) else ()
    numbers = published_for((TEACHER, "dbnas"), results.settings.dataset)
    return Table(
        name="dbnas",
        title="DBNAS: U-Nets found block by block against their teacher",
        columns=(
            ROW,
            PARAMS,
            MACS,
            LATENCY,
            R,
            CHANGED,
            *widths,
            COST,
            *(q_column(label) for label in labels),
            *(fid_column(results, label) for label in labels),
            *published_columns(numbers),
        ),
        rows=(*rows, *reference_rows(results, labels), *published_rows(numbers, ROW.name)),
        notes=(
            *protocol_notes(results),
            "MACs are those of one network evaluation (convolutions, linears, attention products). "
            "r: allowed block loss relative to the base path. Searchable "
            "cost: what the search minimises, relative to the base. Empty: not measured.",
            *([WIDTH_NOTE] if widths else []),
            TIMES_NOTE,
            *base_notes(results),
        ),
    )
