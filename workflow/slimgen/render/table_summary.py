"""Summary: the main rows of every system; size, cost of a sample, speed and quality."""

from __future__ import annotations

from slimgen.config.rows import SYSTEMS
from slimgen.render.comparison import Model
from slimgen.render.gan_compression import tasks
from slimgen.render.number import Number
from slimgen.render.results import TEACHER, Results
from slimgen.render.rows import (
    IS_SHARE,
    LATENCY,
    MACS,
    MILLION,
    NFE,
    PARAMS,
    ROW,
    SPEED,
    TIMES_NOTE,
    Q,
    Row,
    fid_column,
    is_column,
    protocol_notes,
    quality_cells,
    reference_rows,
    report_score_row,
    score_cells,
    size_cells,
)
from slimgen.render.table import Column, Table

SYSTEM_COLUMN = Column("system")
DATASET = Column("data set")
TOTAL_MACS = Column("MACs of a sample (M)", ",.2f")
MAIN = {  # of a system's rows; the others stand in its own table
    "dbnas": ("S1-linear", "S2-linear", "widths"),
    "act": ("act", "act-searched", "ct"),
    "autogan": ("autogan", "random"),
}
MAIN_SAMPLERS = ("ddim-50", "ddim-10")


class Point(Model):
    """One model at one setting of its sampler."""

    @property
    def name(self) -> str:
        """Name in tables and labels, such as `S2-linear, ddim-50` or `act, 1 step`."""
        if self.system == "autogan":
            return f"AutoGAN, {self.row}"
        if self.system in (TEACHER, "dbnas"):
            return f"{self.label}, {self.setting}"
        if self.setting == "translation":
            return self.label
        if self.setting in ("one-step", "consistency-1"):
            return f"{self.label}, 1 step"
        return f"{self.label}, {self.setting.removeprefix('consistency-')} steps"


def points(results: Results, *, every: bool = False) -> list[Point]:
    """Return the main models of the run at their main settings, or every model at every setting."""
    settings = results.settings
    rows = [(TEACHER, row) for row in settings.systems.get(TEACHER, ())]
    for system in SYSTEMS:
        if system == "gan_compression":  # from image to image: rows per data set
            continue
        names = [r for r in settings.rows(system) if settings.has_own_data(system, r)]
        chosen = [row for row in names if every or row in MAIN.get(system, names)]
        rows += [(system, row) for row in chosen or names]
    found = []
    for system, row in rows:
        measured = results.settings_of(system, row)
        diffusion = system in (TEACHER, "dbnas")
        main_settings = [s for s in measured if s in MAIN_SAMPLERS] or list(measured[:1])
        chosen_settings = main_settings if diffusion and not every else list(measured)
        found += [Point(system, row, setting) for setting in chosen_settings]
    return found


def total_macs(results: Results, point: Point) -> Number | None:
    """Return the MACs of one generated image: NFE times those of one evaluation."""
    macs = results.number(point.system, point.row, "macs")
    return macs.scaled(results.nfe(point.system, point.row, point.setting)) if macs else None


def point_row(results: Results, point: Point) -> Row:
    """Return the cells of one model at one setting."""
    system, row, setting = point.system, point.row, point.setting
    total = total_macs(results, point)
    return {
        SYSTEM_COLUMN.name: system,
        ROW.name: point.name,
        NFE.name: Number((results.nfe(system, row, setting),)),
        TOTAL_MACS.name: total.scaled(MILLION) if total else None,
        SPEED.name: results.number(system, row, "images_per_second", setting),
        **size_cells(results, system, row),
        **quality_cells(results, system, row, setting),
        **score_cells(results, system, row, setting),
    }


def translation_rows(results: Results) -> list[Row]:
    """Return full and compressed image-to-image generators with their floors, task by task."""
    rows: list[Row] = []
    for task in tasks(results):
        for row in (task.teacher, task.compressed):
            if row is not None:
                point = Point("gan_compression", row, "translation")
                rows.append({**point_row(task.results, point), DATASET.name: task.dataset})
        for cells in (*reference_rows(task.results), report_score_row(task.results)):
            name = f"{cells[ROW.name]}, {task.dataset}"
            rows.append({**cells, DATASET.name: task.dataset, ROW.name: name})
    return rows


def translation_notes(results: Results) -> tuple[str, ...]:
    """Return the protocols of the image-to-image generators' data sets."""
    notes = tuple(note for task in tasks(results) for note in protocol_notes(task.results))
    return (*notes, "Numbers of different data sets cannot be compared.") if notes else ()


def summary_table(results: Results) -> Table:
    """Return the summary table."""
    return Table(
        name="summary",
        title=f"Summary of the run {results.settings.run}",
        columns=(
            SYSTEM_COLUMN,
            DATASET,
            ROW,
            PARAMS,
            MACS,
            NFE,
            TOTAL_MACS,
            LATENCY,
            SPEED,
            Q,
            fid_column(results),
            is_column(results),
            IS_SHARE,
        ),
        rows=(
            *(point_row(results, point) for point in points(results)),
            *reference_rows(results),
            report_score_row(results),
            *translation_rows(results),
        ),
        notes=(
            *protocol_notes(results),
            *translation_notes(results),
            "MACs: one network evaluation on one image; latency: one evaluation; MACs of a sample: "
            "NFE times MACs.",
            TIMES_NOTE,
        ),
    )
