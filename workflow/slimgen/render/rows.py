"""What every table shares: columns of quality, floor and Gaussian rows, notes on protocol."""

from __future__ import annotations

from collections.abc import Sequence

from slimgen.render.number import Number
from slimgen.render.published import SOURCE, Published, value_columns
from slimgen.render.results import Results
from slimgen.render.table import Cell, Column

ROW = Column("row")
NFE = Column("NFE", ",.0f")
PARAMS = Column("params", ",.0f")
MACS = Column("MACs (M)", ",.2f")
LATENCY = Column("latency (ms)", ",.2f")
SPEED = Column("images/s", ",.0f")
Q = Column("q", ".3f")
IS_SHARE = Column("IS / IS of report", ".3f")
MILLION = 1e-6
TIMES_NOTE = (
    "Latency and images/s depend on what else the machine did: beside other jobs they can differ "
    "several times over between equal networks; compare MACs, or measure alone."
)

Row = dict[str, Cell]


def q_column(label: str = "") -> Column:
    """Return the column of q, at one setting where a label names it."""
    return Column(f"q {label}".strip(), ".3f")


def fid_column(results: Results, label: str = "") -> Column:
    """Return the column of FID under the name that says its feature network."""
    return Column(f"{results.named('fid')} {label}".strip(), "4s")


def is_column(results: Results) -> Column:
    """Return the column of the Inception Score under the name that says its feature network."""
    return Column(results.named("inception_score"), ".2f")


def published_columns(numbers: Sequence[Published]) -> tuple[Column, ...]:
    """Return the columns of published values and of their source, none where there is none."""
    return tuple(Column(name) for name in (*value_columns(numbers), SOURCE)) if numbers else ()


def size_cells(results: Results, system: str, row: str) -> Row:
    """Return parameters, MACs of one evaluation and latency of one model."""
    macs = results.number(system, row, "macs")
    return {
        PARAMS.name: results.number(system, row, "params"),
        MACS.name: macs.scaled(MILLION) if macs else None,
        LATENCY.name: results.number(system, row, "latency_ms"),
    }


def quality_cells(results: Results, system: str, row: str, setting: str, label: str = "") -> Row:
    """Return FID and q of one model at one setting."""
    return {
        q_column(label).name: results.number(system, row, "q", setting),
        fid_column(results, label).name: results.number(system, row, "fid", setting),
    }


def score_cells(results: Results, system: str, row: str, setting: str) -> Row:
    """Return IS, and its share of the report split's own."""
    score = results.number(system, row, "inception_score", setting)
    own = results.report_score.value
    return {
        is_column(results).name: score,
        IS_SHARE.name: score.scaled(1 / own) if score else None,
    }


def reference_rows(results: Results, labels: Sequence[str] = ("",)) -> list[Row]:
    """Return the floor (train against report split: q = 0) and the Gaussian fit (q = 1).

    Neither depends on a sampler: they stand under every label.
    """
    floor, gauss = results.floor, results.gauss
    rows: list[Row] = []
    for name, record, q in (
        ("floor: train split", floor, 0.0),
        ("Gaussian fitted to train", gauss, 1.0),
    ):
        row: Row = {ROW.name: name}
        for label in labels:
            row[q_column(label).name] = Number((q,))
            row[fid_column(results, label).name] = Number((record.value,))
        rows.append(row)
    return rows


def report_score_row(results: Results) -> Row:
    """Return the report split's own IS, the value that IS can be compared with."""
    own = results.report_score.value
    return {
        ROW.name: "report split itself",
        is_column(results).name: Number((own,)),
        IS_SHARE.name: Number((1.0,)),
    }


def classifier_words(results: Results) -> str:
    """Return which classifier gives the features, and how far it can be trusted."""
    resize, accuracy = results.floor.resize, results.own_accuracy
    words = "features of a classifier trained on the train split"
    if resize not in (None, "none"):
        words = f"features of the classifier of another data set ({resize})"
    if accuracy is None:
        return words
    return f"{words} (right on {accuracy:.1%} of the report split)"


def protocol_notes(results: Results) -> tuple[str, ...]:
    """Return the sentences that say by which protocol a table's numbers were measured."""
    names = ", ".join(str(seed) for seed in results.settings.seeds)
    seeds = f"seeds {names} (mean ± sample standard deviation)"
    if len(results.settings.seeds) == 1:
        seeds = f"seed {names} alone, so no spread"
    floor, gauss = results.floor.value, results.gauss.value
    if results.features == "inception":
        network = "Inception features"
    else:
        network = f"{classifier_words(results)}, so not comparable with Inception FIDs"
    codes = {
        (system == "gan_compression", record.code)  # whose rows another stage measures
        for system, rows in results.settings.systems.items()
        for row in rows
        for seed in results.settings.seeds
        for record in results.records(system, row, seed)
    }
    extra = [f"FID: {results.floor.note}."] if results.floor.note else []
    extra += (
        ["Rows were measured by different versions of the code."]
        if len(codes) > len({other for other, _ in codes})
        else []
    )
    return (
        f"{results.settings.dataset}: {results.num_images:,} generated images against the report "
        f"split; {results.named('fid')} on {network}; {seeds}.",
        f"q = (FID - floor) / (FID_gauss - floor), floor = {floor:.4g} (train against report "
        f"split), FID_gauss = {gauss:.4g} (pixel-space Gaussian fitted to train).",
        *extra,
    )
