"""Table of GAN Compression: teachers, compressed generators and baselines, task by task."""

from __future__ import annotations

from slimgen.evaluation.record import find
from slimgen.render.gan_compression import (
    SYSTEM,
    Task,
    exported,
    read_found,
    search_of,
    stage_of,
    tasks,
)
from slimgen.render.number import Number
from slimgen.render.published import SOURCE, Published, read_published
from slimgen.render.results import Results
from slimgen.render.rows import (
    LATENCY,
    MACS,
    MILLION,
    PARAMS,
    ROW,
    TIMES_NOTE,
    Q,
    Row,
    fid_column,
    protocol_notes,
    quality_cells,
    reference_rows,
    size_cells,
)
from slimgen.render.table import Column, Table

SETTING = "translation"
TASK = Column("task")
DATASET = Column("data set")
WIDTHS = Column("widths")
TORCHPROFILE = Column("MACs, torchprofile rule (M)", ",.2f")
FEWER = Column("MACs of teacher / MACs", ".1f")
QUARTILES = Column("latency IQR (ms)", ".2f")
ONNX_LATENCY = Column("latency, onnxruntime (ms)", ",.2f")
ACCURACY = Column("accuracy", ".3f")
PSNR = Column("PSNR (dB)", ".2f")
SSIM = Column("SSIM", ".3f")
PAPER_PARAMS = Column("published: params (M)")
PAPER_MACS = Column("published: MACs, torchprofile rule (G)")
PAPER_FID = Column("published: FID (Inception)")
PAPER_MIOU = Column("published: mIoU")
PUBLISHED_COLUMNS = {
    "params_millions": PAPER_PARAMS,
    "macs_billions": PAPER_MACS,
    "fid": PAPER_FID,
    "miou": PAPER_MIOU,
}


def widths_text(task: Task, row: str) -> str | None:
    """Return a row's width vector, of every seed where they differ; None where none was chosen."""
    settings = task.settings(row)
    if stage_of(row) != "student" or settings["arch"] != "searched":
        return None
    search = search_of(settings)
    if search is None:
        return str(settings["widths"])
    found = (read_found(task.results, search, seed) for seed in task.results.settings.seeds)
    return "; ".join(dict.fromkeys("_".join(map(str, one["widths"])) for one in found))


def quartiles(task: Task, row: str) -> Number | None:
    """Return the interquartile range of a row's latency in each seed."""
    seeds = task.results.settings.seeds
    found = [find(task.results.records(SYSTEM, row, seed), "latency_ms").spread for seed in seeds]
    known = tuple(spread for spread in found if spread is not None)
    return Number(known) if len(known) == len(seeds) else None


def onnx_latency(task: Task, row: str) -> Number | None:
    """Return the latency of a row's export in onnxruntime; None where it is not exported."""
    records = exported(task.results, row)
    if records is None:
        return None
    return Number(tuple(float(record["latency_ms"]) for record in records))


def row_cells(task: Task, row: str) -> Row:
    """Return the cells of one generator."""
    torchprofile = task.number(row, "macs_torchprofile")
    return {
        TASK.name: task.kind,
        DATASET.name: task.dataset,
        ROW.name: row,
        WIDTHS.name: widths_text(task, row),
        TORCHPROFILE.name: torchprofile.scaled(MILLION) if torchprofile else None,
        FEWER.name: task.fewer_macs(row),
        QUARTILES.name: quartiles(task, row),
        ONNX_LATENCY.name: onnx_latency(task, row),
        ACCURACY.name: task.number(row, "accuracy"),
        PSNR.name: task.number(row, "psnr"),
        SSIM.name: task.number(row, "ssim"),
        **size_cells(task.results, SYSTEM, row),
        **quality_cells(task.results, SYSTEM, row, SETTING),
    }


def comparison_rows(task: Task) -> list[Row]:
    """Return floor, Gaussian fit and the targets' own accuracy, named after the data set."""
    rows: list[Row] = []
    for row in reference_rows(task.results):
        rows.append({**row, ROW.name: f"{row[ROW.name]}, {task.dataset}"})
    right = task.results.own_accuracy
    if right is not None:
        name = f"targets of the report split, {task.dataset}"
        rows.append({ROW.name: name, ACCURACY.name: Number((right,))})
    return [{**row, TASK.name: task.kind, DATASET.name: task.dataset} for row in rows]


def paper_rows(numbers: tuple[Published, ...]) -> list[Row]:
    """Return one row per published model and data set; nothing of ours stands in it."""
    rows: dict[tuple[str, str], Row] = {}
    for number in numbers:
        row = rows.setdefault((number.row, number.dataset), {})
        row[ROW.name] = f"published: {number.row}"
        row[DATASET.name] = number.dataset
        row[PUBLISHED_COLUMNS[number.metric].name] = number.value
        row[SOURCE] = number.source
    return list(rows.values())


def gan_compression_table(results: Results) -> Table:
    """Return the table of GAN Compression."""
    found = tasks(results)
    numbers = tuple(number for number in read_published() if number.system == SYSTEM)
    fids = dict.fromkeys(fid_column(task.results) for task in found)
    return Table(
        name=SYSTEM,
        title="GAN Compression: image-to-image generators and what they were compressed to",
        columns=(
            TASK,
            DATASET,
            ROW,
            WIDTHS,
            PARAMS,
            MACS,
            TORCHPROFILE,
            FEWER,
            LATENCY,
            QUARTILES,
            ONNX_LATENCY,
            Q,
            *fids,
            ACCURACY,
            PSNR,
            SSIM,
            *PUBLISHED_COLUMNS.values(),
            Column(SOURCE),
        ),
        rows=(
            *(
                row
                for task in found
                for row in (
                    *(row_cells(task, name) for name in task.rows),
                    *comparison_rows(task),
                )
            ),
            *paper_rows(numbers),
        ),
        notes=(
            *(note for task in found for note in protocol_notes(task.results)),
            "Numbers of different data sets cannot be compared. Accuracy: share of translations "
            "that the classifier names by the label of their input. PSNR and SSIM: against the "
            "aligned target, where there is one. MACs are true counts of one image; the "
            "torchprofile rule, by which the paper counts, sums a transposed convolution over its "
            "output and adds instance norms. The teacher of a ratio is the full one.",
            "Published: two rows of Fast GAN Compression (pix2pix on cityscapes and map2aerial) "
            "belong to older widths than the released scripts name.",
            TIMES_NOTE,
        ),
    )
