"""Table of ACT: consistency models with and without the adversarial term."""

from __future__ import annotations

from slimgen.render.number import Number
from slimgen.render.published import published_for, published_rows
from slimgen.render.results import Results, read_object
from slimgen.render.rows import (
    IS_SHARE,
    PARAMS,
    ROW,
    Row,
    fid_column,
    is_column,
    protocol_notes,
    published_columns,
    q_column,
    quality_cells,
    reference_rows,
    report_score_row,
    score_cells,
)
from slimgen.render.table import Column, Table
from slimgen.training.job import StageError

SYSTEM = "act"
ONE, TWO = "1 step", "2 steps"
STEPS = Column("training steps", ",.0f")
TRAIN_MACS = Column("training MACs (T)", ",.3f")
AUGMENT_P = Column("final p", ".3f")
PRECISION = Column("precision", ".3f")
RECALL = Column("recall", ".3f")
TERA = 1e-12


def training_cost(results: Results, row: str, key: str) -> Number:
    """Return `steps` or `train_macs` of a row's cost.json over the seeds."""
    values = []
    for seed in results.settings.seeds:
        path = results.folder("act.student", row, seed) / "cost.json"
        value = read_object(path).get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise StageError(f"{path}: {key} is {value!r}, not a number")
        values.append(float(value))
    return Number(tuple(values))


def final_p(results: Results, row: str) -> Number | None:
    """Return the augmentation probability at the end of training; None where there is none."""
    values = []
    for seed in results.settings.seeds:
        found = [
            line["augment_p"]
            for line in results.log("act.student", row, seed)
            if "augment_p" in line
        ]
        values += found[-1:]
    return Number(tuple(values)) if len(values) == len(results.settings.seeds) else None


def by_nfe(results: Results, row: str) -> dict[int, str]:
    """Return NFE -> the setting at which a consistency model was measured with it."""
    return {results.nfe(SYSTEM, row, s): s for s in results.settings_of(SYSTEM, row)}


def act_row(results: Results, row: str) -> Row:
    """Return the cells of one consistency model."""
    cells: Row = {
        ROW.name: row,
        STEPS.name: training_cost(results, row, "steps"),
        TRAIN_MACS.name: training_cost(results, row, "train_macs").scaled(TERA),
        AUGMENT_P.name: final_p(results, row),
        PARAMS.name: results.number(SYSTEM, row, "params"),
    }
    settings = by_nfe(results, row)
    for nfe, label in ((1, ONE), (2, TWO)):
        if nfe in settings:
            cells |= quality_cells(results, SYSTEM, row, settings[nfe], label)
    if 1 in settings:
        cells |= score_cells(results, SYSTEM, row, settings[1])
        for column, metric in ((PRECISION, "precision"), (RECALL, "recall")):
            cells[column.name] = results.number(SYSTEM, row, metric, settings[1])
    return cells


def act_table(results: Results) -> Table:
    """Return the table of ACT."""
    numbers = published_for((SYSTEM,), results.settings.dataset)
    return Table(
        name=SYSTEM,
        title="ACT: consistency training with and without the adversarial term",
        columns=(
            ROW,
            PARAMS,
            STEPS,
            TRAIN_MACS,
            AUGMENT_P,
            q_column(ONE),
            q_column(TWO),
            fid_column(results, ONE),
            fid_column(results, TWO),
            is_column(results),
            IS_SHARE,
            PRECISION,
            RECALL,
            *published_columns(numbers),
        ),
        rows=(
            *(act_row(results, row) for row in results.settings.rows(SYSTEM)),
            *reference_rows(results, (ONE, TWO)),
            report_score_row(results),
            *published_rows(numbers, ROW.name),
        ),
        notes=(
            *protocol_notes(results),
            "IS, precision and recall are those of one step. Training MACs count every network "
            "that a step evaluates. p: augmentation probability at the end of training.",
        ),
    )
