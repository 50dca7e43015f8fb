"""The claims of GAN Compression on this run: what a compressed generator keeps, and what it needs.

A claim names a measure and how much of B's value A must reach. What A falls short by is a number
per seed, below 0 where the claim is met; the interval over seeds gives the verdict (`judgement`).
Multiply-adds are counts, so every seed counts by itself.

    q: q_A - max(q_B, q_B / share) < slack        (less is better)
    accuracy, PSNR: share * B - A < 0             (more is better)
    MACs: 9 - MACs_B / MACs_A <= 0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slimgen.config.rows import made_by
from slimgen.render.gan_compression import SYSTEM, Task, search_of, tasks
from slimgen.render.judgement import judge, judge_exact
from slimgen.render.number import Number
from slimgen.render.results import Results
from slimgen.render.table import Cell, Column

PAPER = "GAN Compression"
FEWER_MACS = 9.0
KEPT = 0.85  # of the teacher's quality
SLACK = 0.02  # of q
MEASURE = Column("measure")
OF_A, OF_B = Column("measure of A", ".3f"), Column("measure of B", ".3f")
LACK = Column("A falls short by", "+.3f")
MEASURES = {"q": "q", "accuracy": "accuracy", "psnr": "PSNR (dB)"}  # metric -> name
NEEDS: dict[
    str, dict[str, Any]
] = {  # claim -> settings in which its rows differ from the compressed one
    "training from scratch": {"begin": "random", "distill": False},
    "fine-tuning without distillation": {"begin": "supernet", "distill": False},
    "fine-tuning with a fresh discriminator": {
        "begin": "supernet",
        "distill": True,
        "discriminator_init": "fresh",
    },
    "training by cycles, without pseudo pairs": {"pseudo_pairs": False},
}


@dataclass(frozen=True)
class Comparison:
    """That row A of a task is worth a row B by one metric; `b` None where there is no such row."""

    statement: str
    a: str
    b: str | None
    metric: str
    share: float = 1.0
    slack: float = 0.0
    missing: str = ""

    def lack(self, a: float, b: float) -> float:
        """Return by how much A falls short of the claim in one seed."""
        if self.metric == "q":
            return a - max(b, b / self.share) - self.slack
        return self.share * b - a


def baselines(task: Task, compressed: str, needed: dict[str, Any]) -> list[str]:
    """Return the rows of the same widths with other settings."""
    settings = task.settings(compressed)
    same = {} if "pseudo_pairs" in needed else {"pseudo_pairs": settings["pseudo_pairs"]}
    rows = task.students(search_of(settings), arch="searched", widths=None, **same, **needed)
    return [row for row in rows if row != compressed]


def updates(task: Task, row: str) -> str:
    """Return the updates that made a row's weights: of the networks they began as, and its own."""
    job: tuple[str, str] | None = made_by(SYSTEM, row)
    counts: list[str] = []
    while job is not None:
        settings = task.results.stage_settings(*job)
        counts.insert(0, f"{settings['steps']:,}")
        job = None
        if settings.get("begin") == "supernet":
            search = task.results.stage_settings(f"{SYSTEM}.search", settings["search"])
            job = f"{SYSTEM}.supernet", search["supernet"]
        elif settings.get("begin") == "teacher":
            origin, variant = (settings.get("begin_from") or settings["teacher"]).split("/")
            job = f"{SYSTEM}.{origin}", variant
    return f"{' + '.join(counts)} updates"


def comparisons(task: Task, compressed: str) -> Iterator[Comparison]:
    """Yield the claims about a compressed generator that depend on quality.

    Those about baselines come where the task has one at all, one for every row and measure: rows
    that differ in their number of updates too make claims of their own, which say so.
    """
    where = f"{task.dataset}: "
    metrics = [metric for metric in MEASURES if task.number(compressed, metric) is not None]
    teacher = task.teacher_of(compressed)
    for metric in metrics:
        statement = f"{where}compressed keeps {KEPT:.0%} of the teacher's quality"
        slack = SLACK if metric == "q" else 0.0
        yield Comparison(statement, compressed, teacher, metric, KEPT, slack, "of the teacher")
    others = {name: baselines(task, compressed, needed) for name, needed in NEEDS.items()}
    if task.kind != "unpaired":
        del others["training by cycles, without pseudo pairs"]
    others["one width everywhere"] = task.students(arch="uniform")
    drawn = [row for row in task.students(arch="searched") if task.method(row) == "random"]
    others["random widths of the same budget"] = drawn
    for name, rows in others.items() if any(others.values()) else ():
        if not rows:
            statement = f"{where}compressed beats {name}"
            yield Comparison(statement, compressed, None, "", missing=f"of {name}")
        for row in rows:
            ours, theirs = updates(task, compressed), updates(task, row)
            statement = f"{where}compressed ({ours}) beats {name} ({theirs})"
            for metric in metrics:
                yield Comparison(statement, compressed, row, metric)


def quality_row(task: Task, claim: Comparison) -> dict[str, Cell]:
    """Return the cells of one claim about quality."""
    cells: dict[str, Cell] = {"paper": PAPER, "claim": claim.statement}
    if claim.b is None:
        return cells | {"verdict": f"not measured (no row {claim.missing})"}
    a, b = task.number(claim.a, claim.metric), task.number(claim.b, claim.metric)
    cells |= {"A": claim.a, "B": claim.b, MEASURE.name: MEASURES[claim.metric]}
    cells |= {OF_A.name: a, OF_B.name: b}
    if a is None or b is None:
        return cells | {"verdict": "not measured"}
    lacks = tuple(claim.lack(x, y) for x, y in zip(a.values, b.values, strict=True))
    judged = judge(lacks)
    macs_a, macs_b = task.number(claim.a, "macs"), task.number(claim.b, "macs")
    return cells | {
        LACK.name: Number(lacks),
        "95 % from": Number((judged.low,)) if judged.low is not None else None,
        "to": Number((judged.high,)) if judged.high is not None else None,
        "MACs of A / B": macs_a.over(macs_b) if macs_a and macs_b else None,
        "verdict": judged.verdict,
    }


def macs_row(task: Task, compressed: str) -> dict[str, Cell]:
    """Return the cells of the claim about multiply-adds."""
    statement = f"{task.dataset}: at least {FEWER_MACS:g} times fewer MACs than the teacher"
    cells: dict[str, Cell] = {"paper": PAPER, "claim": statement}
    ratio = task.fewer_macs(compressed)
    if ratio is None:
        return cells | {"verdict": "not measured (no row of the teacher)"}
    lacks = tuple(FEWER_MACS - value for value in ratio.values)
    return cells | {
        "A": compressed,
        "B": task.teacher_of(compressed),
        MEASURE.name: "MACs of B / A",
        OF_A.name: ratio,
        LACK.name: Number(lacks),
        "MACs of A / B": Number(tuple(1 / value for value in ratio.values)),
        "verdict": judge_exact(lacks).verdict,
    }


def translation_claims(results: Results) -> Iterator[dict[str, Cell]]:
    """Yield the rows of the table of claims about every task of the run."""
    for task in tasks(results):
        compressed = task.compressed
        if compressed is None:
            statement = f"{task.dataset}: a compressed generator keeps the teacher's quality"
            missing = "not measured (no row of a searched, distilled student)"
            yield {"paper": PAPER, "claim": statement, "verdict": missing}
            continue
        yield macs_row(task, compressed)
        for claim in comparisons(task, compressed):
            yield quality_row(task, claim)


def translation_notes(results: Results) -> tuple[str, ...]:
    """Return how the claims about image-to-image generators are to be read."""
    if not tasks(results):
        return ()
    return (
        f"GAN Compression: by what A falls short of the claim (below 0: it is met), with its "
        f"interval; {KEPT:.0%} of the teacher's quality is a q of at most the teacher's / {KEPT:g} "
        f"+ {SLACK:g}, or {KEPT:g} of its accuracy or PSNR. MACs are counts: one seed decides. "
        "Updates are those of the network that a row began as, such as the supernet, + its own.",
    )
