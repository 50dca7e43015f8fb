"""The papers' claims, judged on this run: a difference in q, paired over seeds, and its interval.

A claim "A is better than B" is that q_A(s) - q_B(s) lies below a margin (0, unless the claim says
another); `judgement` says when it is held. Claims of searched GANs are those of `claims_autogan`,
those of image-to-image models, on other data sets and by other measures, of
`claims_gan_compression`.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimgen.render.claims_autogan import autogan_claims, autogan_notes
from slimgen.render.claims_gan_compression import (
    LACK,
    MEASURE,
    OF_A,
    OF_B,
    translation_claims,
    translation_notes,
)
from slimgen.render.comparison import Comparison, Model, claim_row
from slimgen.render.results import TEACHER, Results
from slimgen.render.rows import protocol_notes
from slimgen.render.table import Column, Table
from slimgen.render.table_act import by_nfe
from slimgen.render.table_dbnas import SAMPLERS
from slimgen.render.table_denoising_student import ddim_settings

FEW_STEPS = 10  # "few evaluations" of DDIM
CLOSE = 0.10  # a tenth of the way from the floor to a Gaussian


def dbnas_claims(results: Results) -> Iterator[Comparison]:
    """Yield the claims of DBNAS at every sampler of the paper at which both sides were measured."""
    rows = results.settings.systems.get("dbnas", ())
    teacher = (TEACHER, results.settings.dataset)
    for statement, a, b in (
        ("S2 is not worse than the teacher", ("dbnas", "S2-linear"), teacher),
        ("S2 beats a random net of equal cost", ("dbnas", "S2-linear"), ("dbnas", "random")),
        ("block-wise search beats global search", ("dbnas", "S2-linear"), ("dbnas", "global")),
        ("retraining needs distillation", ("dbnas", "S2-linear"), ("dbnas", "no_dis-S2")),
        ("a dynamic loss beats a fixed one", ("dbnas", "S1-linear"), ("dbnas", "fixed_loss-S1")),
    ):
        absent = [row for system, row in (a, b) if system == "dbnas" and row not in rows]
        if absent:
            yield Comparison("DBNAS", statement, missing=absent[0])
            continue
        measured = set(results.settings_of(*a)) & set(results.settings_of(*b))
        for setting in (name for name in SAMPLERS if name in measured):
            yield Comparison("DBNAS", statement, Model(*a, setting), Model(*b, setting))


def student_claims(results: Results) -> Iterator[Comparison]:
    """Yield the claims of Denoising Student, and that of distilling a searched net."""
    system, paper = "denoising_student", "Denoising Student"
    rows = results.settings.systems.get(system, ())
    dataset = results.settings.dataset
    one = {row: Model(system, row, results.settings_of(system, row)[0]) for row in rows}
    ddim = [Model(TEACHER, dataset, setting) for setting in ddim_settings(results)]
    close = f"one evaluation comes within {CLOSE:.2f} of the teacher's DDIM"
    fewer = "one evaluation beats few of the teacher's DDIM"
    if TEACHER not in one:
        yield Comparison(paper, close, missing="student of teacher")
        return
    if ddim:
        yield Comparison(paper, close, one[TEACHER], ddim[-1], margin=CLOSE)
    for other in ddim:
        if results.nfe(TEACHER, dataset, other.setting) <= FEW_STEPS:
            yield Comparison(paper, fewer, one[TEACHER], other)
    for row in rows:
        if row != TEACHER:
            statement = "a student of a searched net is not worse than one of the teacher"
            yield Comparison("composition", statement, one[row], one[TEACHER])


def act_claims(results: Results) -> Iterator[Comparison]:
    """Yield the claims of ACT at one step, and that of a searched backbone."""
    rows = results.settings.systems.get("act", ())

    def one_step(row: str) -> Model:
        return Model("act", row, by_nfe(results, row)[1])

    def compare(paper: str, statement: str, a: str, b: str) -> Comparison:
        absent = [row for row in (a, b) if row not in rows]
        if absent:
            return Comparison(paper, statement, missing=absent[0])
        return Comparison(paper, statement, one_step(a), one_step(b))

    yield compare("ACT", "ACT beats CT at equal steps", "act", "ct")
    equal = equal_macs_pair(results, rows)
    statement = "ACT beats CT at equal training MACs"
    if equal is None:
        yield Comparison("ACT", statement, missing="CT of equal training MACs")
    else:
        yield compare("ACT", statement, *equal)
    yield compare("ACT", "augmentation helps ACT", "act", "act-noaug")
    statement = "ACT on a searched backbone is not worse"
    yield compare("composition", statement, "act-searched", "act")


def equal_macs_pair(results: Results, rows: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the adversarial row and the plain one that were trained with equal MACs."""
    for row in rows:
        settings = results.stage_settings("act.student", row)
        other = settings.get("equal_macs_with")
        if other in rows:
            plain = settings["weight"]["w"] == 0
            return (other, row) if plain else (row, other)
    return None


def claims_table(results: Results) -> Table:
    """Return the table of claims of the systems that the run holds."""
    found: list[Comparison] = []
    for system, claims in (
        ("dbnas", dbnas_claims),
        ("denoising_student", student_claims),
        ("act", act_claims),
        ("autogan", autogan_claims),
    ):
        if results.settings.systems.get(system):
            found += claims(results)
    seeds = len(results.settings.seeds)
    return Table(
        name="claims",
        title="The papers' claims on this run",
        columns=(
            Column("paper"),
            Column("claim"),
            Column("A"),
            Column("B"),
            Column("q of A", ".3f"),
            Column("q of B", ".3f"),
            Column("q of A - q of B", "+.3f"),
            MEASURE,
            OF_A,
            OF_B,
            LACK,
            Column("95 % from", "+.3f"),
            Column("to", "+.3f"),
            Column("MACs of A / B", ".3g"),
            Column("verdict"),
        ),
        rows=(
            *(claim_row(results, claim) for claim in found),
            *translation_claims(results),
        ),
        notes=(
            "Lower q is better. Held: the whole 95 % t-interval of the difference, paired over "
            f"{seeds} seed{'s' * (seeds > 1)}, lies below 0 (below {CLOSE:.2f} where the claim "
            "says so); not held: above; undecided: it covers that value, or there are fewer than "
            "three seeds. Each comparison stands alone: no correction for their number. "
            "MACs are those of one generated image.",
            *protocol_notes(results),
            *autogan_notes(results),
            *translation_notes(results),
        ),
    )
