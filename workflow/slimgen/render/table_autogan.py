"""Table of AutoGAN: found generators, random ones, ablations, transfer to another data set."""

from __future__ import annotations

from slimgen.render.autogan import (
    SYSTEM,
    chosen,
    code_text,
    counts,
    derived_counts,
    search_of,
    student_rows,
    transfer_rows,
)
from slimgen.render.number import Number
from slimgen.render.published import Published, published_for, published_rows, read_published
from slimgen.render.results import Results
from slimgen.render.rows import (
    IS_SHARE,
    LATENCY,
    MACS,
    PARAMS,
    ROW,
    TIMES_NOTE,
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
    size_cells,
)
from slimgen.render.table import Column, Table

CODE = Column("architecture")
REWARDS = Column("rewards", ",.0f")
RESETS = Column("resets", ".3g")
DERIVED = Column("derived", ".3g")
SHARED = Column("IS, shared weights", ".2f")
PRECISION = Column("precision", ".3f")
RECALL = Column("recall", ".3f")
PUBLISHED_NOTE = (
    "Published protocols differ: AutoGAN's FIDs are of 50,000 generated images and the 50,000 of "
    "the training set, SN-GAN's of 10,000 and 5,000 images; issue 3 of VITA-Group/AutoGAN puts "
    "SN-GAN at about 15 on CIFAR-10 by AutoGAN's protocol."
)


def architectures(results: Results, row: str) -> str:
    """Return the code of a row's architecture, of every seed where they differ."""
    found = [code_text(chosen(results, row, seed).code) for seed in results.settings.seeds]
    return "; ".join(dict.fromkeys(found))


def search_cells(results: Results, row: str) -> Row:
    """Return what the search behind a row cost and how often its GAN began anew."""
    search = search_of(results, row)
    if search is None:
        return {}
    shared = [chosen(results, row, seed).shared_score for seed in results.settings.seeds]
    known = tuple(score for score in shared if score is not None)
    return {
        REWARDS.name: Number(counts(results, search, "rewards")),
        RESETS.name: Number(counts(results, search, "resets")),
        SHARED.name: Number(known) if len(known) == len(shared) else None,
    }


def score_of(results: Results, row: str) -> Row:
    """Return the quality of a generator, whose images are made in one way."""
    setting = results.settings_of(SYSTEM, row)[0]
    return {
        **quality_cells(results, SYSTEM, row, setting),
        **score_cells(results, SYSTEM, row, setting),
        PRECISION.name: results.number(SYSTEM, row, "precision", setting),
        RECALL.name: results.number(SYSTEM, row, "recall", setting),
    }


def transfer_cells(results: Results, row: str) -> Row:
    """Return q and FID of a generator of another data set, in columns that name it."""
    dataset = results.settings.dataset_of(SYSTEM, row)
    there = results.on(dataset)
    setting = there.settings_of(SYSTEM, row)[0]
    return {
        ROW.name: row,
        **size_cells(there, SYSTEM, row),
        **quality_cells(there, SYSTEM, row, setting, f"on {dataset}"),
    }


def transfer_columns(results: Results) -> tuple[Column, ...]:
    """Return the columns of the other data sets."""
    columns: list[Column] = []
    for row in transfer_rows(results):
        dataset = results.settings.dataset_of(SYSTEM, row)
        there = results.on(dataset)
        columns += [q_column(f"on {dataset}"), fid_column(there, f"on {dataset}")]
    return tuple(dict.fromkeys(columns))


def transfer_notes(results: Results) -> tuple[str, ...]:
    """Return the protocol of the other data sets."""
    others = {results.settings.dataset_of(SYSTEM, row): None for row in transfer_rows(results)}
    return tuple(note for name in others for note in protocol_notes(results.on(name))[:2])


def published_elsewhere(results: Results) -> tuple[Published, ...]:
    """Return what is published of the data sets to which architectures were transferred."""
    others = {results.settings.dataset_of(SYSTEM, row) for row in transfer_rows(results)}
    return tuple(n for n in read_published() if n.system == SYSTEM and n.dataset in others)


def autogan_table(results: Results) -> Table:
    """Return the table of AutoGAN."""
    own = results.on(results.settings.dataset)
    numbers = published_for((SYSTEM,), results.settings.dataset)
    others = published_elsewhere(results)
    return Table(
        name=SYSTEM,
        title="AutoGAN: searched generators, trained from scratch",
        columns=(
            ROW,
            CODE,
            PARAMS,
            MACS,
            LATENCY,
            REWARDS,
            RESETS,
            DERIVED,
            SHARED,
            q_column(),
            fid_column(own),
            is_column(own),
            IS_SHARE,
            PRECISION,
            RECALL,
            *transfer_columns(results),
            *dict.fromkeys((*published_columns(numbers), *published_columns(others))),
        ),
        rows=(
            *(
                {
                    ROW.name: row,
                    CODE.name: architectures(own, row),
                    **size_cells(own, SYSTEM, row),
                    **search_cells(own, row),
                    DERIVED.name: Number(derived_counts(own, row)),
                    **score_of(own, row),
                }
                for row in student_rows(own)
            ),
            *(transfer_cells(results, row) for row in transfer_rows(results)),
            *reference_rows(own),
            report_score_row(own),
            *published_rows(numbers, ROW.name),
            *published_rows(others, ROW.name),
        ),
        notes=(
            *protocol_notes(own),
            *transfer_notes(results),
            "Architecture: the release's integers, cell after cell (conv, norm, up, shortcut, "
            "skips). Rewards: Inception scores that the search asked for, in the features of a "
            "classifier of its own; resets: how often the shared GAN began anew; derived: networks "
            "trained from scratch, of which the one nearest to the validation split is reported.",
            PUBLISHED_NOTE,
            TIMES_NOTE,
        ),
    )
