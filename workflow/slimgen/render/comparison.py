"""One comparison of two models of the run by q: its sides, its cells in the table of claims.

The claim is that q_A(s) - q_B(s) lies below a margin over the seeds s; `judgement` gives the
verdict. Seeds that can say nothing about a claim do not enter its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from slimgen.render.judgement import judge
from slimgen.render.number import Number
from slimgen.render.results import TEACHER, Results
from slimgen.render.rows import Row


@dataclass(frozen=True)
class Model:
    """One side of a comparison: a model at one setting of its sampler."""

    system: str
    row: str
    setting: str

    @property
    def label(self) -> str:
        """Name in the table."""
        row = TEACHER if self.system == TEACHER else self.row
        return f"student of {row}" if self.system == "denoising_student" else row


@dataclass(frozen=True)
class Comparison:
    """The claim that q of A is below q of B plus a margin; `missing` where a row does not exist.

    Seeds in `void` do not count, for the `reason`; the verdict says so, and the `remark` after it.
    """

    paper: str
    statement: str
    a: Model | None = None
    b: Model | None = None
    margin: float = 0.0
    missing: str = ""
    void: tuple[int, ...] = ()
    reason: str = ""
    remark: str = ""

    def verdict(self, judged: str) -> str:
        """Return a judgement, "" where no seed counts, with what a reader must know beside it."""
        seeds = f" in seed{'s' * (len(self.void) > 1)} {', '.join(map(str, self.void))}"
        left_out = (self.reason + seeds * bool(judged)) if self.void else ""
        return "; ".join(part for part in (judged, left_out, self.remark) if part)


def claim_row(results: Results, claim: Comparison) -> Row:
    """Return the cells of one comparison."""
    cells: Row = {"paper": claim.paper, "claim": claim.statement}
    if claim.a is None or claim.b is None:
        return cells | {"verdict": f"not measured (no row {claim.missing})"}
    a, b = claim.a, claim.b
    q_a = results.number(a.system, a.row, "q", a.setting)
    q_b = results.number(b.system, b.row, "q", b.setting)
    cells |= {
        "A": f"{a.label}, {a.setting}",
        "B": f"{b.label}, {b.setting}",
        "q of A": q_a,
        "q of B": q_b,
    }
    if q_a is None or q_b is None:
        return cells | {"verdict": "not measured"}
    pairs = zip(results.settings.seeds, q_a.values, q_b.values, strict=True)
    differences = tuple(x - y for seed, x, y in pairs if seed not in claim.void)
    if not differences:
        return cells | {"verdict": claim.verdict("")}
    judged = judge(differences, claim.margin)
    return cells | {
        "q of A - q of B": Number(differences),
        "95 % from": Number((judged.low,)) if judged.low is not None else None,
        "to": Number((judged.high,)) if judged.high is not None else None,
        "MACs of A / B": macs_ratio(results, a, b),
        "verdict": claim.verdict(judged.verdict),
    }


def macs_ratio(results: Results, a: Model, b: Model) -> Number | None:
    """Return the ratio of the MACs of one generated image."""
    macs_a, macs_b = (results.number(m.system, m.row, "macs") for m in (a, b))
    if macs_a is None or macs_b is None:
        return None
    nfe_a, nfe_b = (results.nfe(m.system, m.row, m.setting) for m in (a, b))
    return macs_a.over(macs_b).scaled(nfe_a / nfe_b)
