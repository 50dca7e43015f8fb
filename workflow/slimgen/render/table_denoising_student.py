"""Table of Denoising Student: one evaluation of the student against the teacher's DDIM."""

from __future__ import annotations

from slimgen.render.number import Number
from slimgen.render.published import published_for, published_rows
from slimgen.render.results import TEACHER, Results
from slimgen.render.rows import (
    IS_SHARE,
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
    published_columns,
    quality_cells,
    reference_rows,
    report_score_row,
    score_cells,
)
from slimgen.render.table import Table

SYSTEM = "denoising_student"


def setting_cells(results: Results, system: str, row: str, setting: str) -> Row:
    """Return NFE, quality and speed of one model at one setting."""
    return {
        NFE.name: Number((results.nfe(system, row, setting),)),
        PARAMS.name: results.number(system, row, "params"),
        SPEED.name: results.number(system, row, "images_per_second", setting),
        **quality_cells(results, system, row, setting),
        **score_cells(results, system, row, setting),
    }


def ddim_settings(results: Results) -> list[str]:
    """Return the teacher's DDIM settings, fewest evaluations first."""
    found = results.settings_of(TEACHER, results.settings.dataset)
    names = [setting for setting in found if setting.startswith("ddim-")]
    return sorted(names, key=lambda setting: int(setting.split("-")[1]))


def denoising_student_table(results: Results) -> Table:
    """Return the table of Denoising Student."""
    rows: list[Row] = []
    for row in results.settings.rows(SYSTEM):
        for setting in results.settings_of(SYSTEM, row):
            cells = setting_cells(results, SYSTEM, row, setting)
            rows.append({ROW.name: f"student of {row}", **cells})
    for setting in ddim_settings(results):
        cells = setting_cells(results, TEACHER, results.settings.dataset, setting)
        rows.append({ROW.name: f"teacher, {setting}", **cells})
    numbers = published_for((SYSTEM, TEACHER), results.settings.dataset)
    return Table(
        name=SYSTEM,
        title="Denoising Student: one evaluation against the teacher's DDIM",
        columns=(
            ROW,
            NFE,
            PARAMS,
            Q,
            fid_column(results),
            is_column(results),
            IS_SHARE,
            SPEED,
            *published_columns(numbers),
        ),
        rows=(
            *rows,
            *reference_rows(results),
            report_score_row(results),
            *published_rows(numbers, ROW.name),
        ),
        notes=(*protocol_notes(results), TIMES_NOTE),
    )
