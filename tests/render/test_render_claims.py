"""Claims: verdicts from paired differences and their interval, never more than the data say."""

import csv
import io
import json

import pytest
from scipy.stats import ttest_rel

from slimgen.render.claims import claims_table
from slimgen.render.judgement import HELD, NOT_HELD, judge
from slimgen.render.results import Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.table import as_csv


def claims(tree):
    results = Results(tree.root, parse_render_settings(tree.settings()))
    return list(csv.DictReader(io.StringIO(as_csv(claims_table(results)))))


def claim(tree, statement, sampler=""):
    found = [c for c in claims(tree) if c["claim"] == statement and c["A"].endswith(sampler)]
    assert len(found) == 1
    return found[0]


def set_q(tree, system, row, setting, values):
    for seed, value in enumerate(values):
        tree.q[(system, row, setting, seed)] = value


def test_fewer_than_three_seeds_decide_nothing():
    assert judge((-5.0,)).verdict == "undecided (1 seed)"
    assert judge((-5.0, -5.1)).verdict == "undecided (2 seeds)"
    assert judge((-5.0, -5.1)).low is None


@pytest.mark.parametrize(
    ("differences", "margin", "verdict"),
    [
        ((-0.10, -0.11, -0.12), 0.0, HELD),
        ((0.10, 0.11, 0.12), 0.0, NOT_HELD),
        ((-0.10, 0.01, -0.12), 0.0, "undecided"),
        ((0.06, 0.05, 0.07), 0.10, HELD),
        ((0.06, 0.05, 0.07), 0.0, NOT_HELD),
        ((0.0, 0.0, 0.0), 0.0, "undecided"),
    ],
)
def test_verdict_follows_the_interval(differences, margin, verdict):
    assert judge(differences, margin).verdict == verdict


def test_interval_is_that_of_the_paired_t_test():
    a, b = (0.31, 0.35, 0.30, 0.33), (0.36, 0.34, 0.37, 0.39)
    ours = judge(tuple(x - y for x, y in zip(a, b, strict=True)))
    theirs = ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_one_seed_prints_the_difference_and_stays_undecided(tree):
    set_q(tree, "dbnas", "S2-linear", "ddim-10", [0.05])
    set_q(tree, "dbnas", "random", "ddim-10", [0.25])
    tree.write()
    row = claim(tree, "S2 beats a random net of equal cost", "ddim-10")
    assert row["verdict"] == "undecided (1 seed)"
    assert float(row["q of A - q of B"]) == pytest.approx(-0.2)
    assert "95 % from" not in row or not row["95 % from"]
    decided = {c["verdict"] for c in claims(tree) if c.get("measure") != "MACs of B / A"}
    assert {v for v in decided if "not measured" not in v} == {"undecided (1 seed)"}


def test_differences_are_paired_over_seeds(tree):
    """Seeds that move both sides together leave a small interval: unpaired it would cover 0."""
    tree.seeds = (0, 1, 2)
    set_q(tree, "act", "act", "consistency-1", (0.30, 0.40, 0.50))
    set_q(tree, "act", "ct", "consistency-1", (0.32, 0.421, 0.519))
    set_q(tree, "act", "act-noaug", "consistency-1", (0.50, 0.40, 0.30))
    tree.write()
    row = claim(tree, "ACT beats CT at equal steps")
    assert row["verdict"] == HELD
    assert float(row["q of A - q of B"]) == pytest.approx(-0.02)
    assert float(row["to"]) < 0
    assert claim(tree, "augmentation helps ACT")["verdict"] == "undecided"


def test_equal_macs_row_is_found_by_its_settings(tree):
    tree.seeds = (0, 1, 2)
    set_q(tree, "act", "act", "consistency-1", (0.30, 0.31, 0.32))
    set_q(tree, "act", "ct-macs", "consistency-1", (0.20, 0.21, 0.221))
    tree.write()
    row = claim(tree, "ACT beats CT at equal training MACs")
    assert row["B"] == "ct-macs, consistency-1"
    assert row["verdict"] == NOT_HELD


def test_student_against_every_ddim_of_few_evaluations(tree):
    tree.seeds = (0, 1, 2)
    set_q(tree, "denoising_student", "teacher", "one-step", (0.10, 0.101, 0.102))
    set_q(tree, "teacher", "digits", "ddim-1", (0.40, 0.41, 0.39))
    set_q(tree, "teacher", "digits", "ddim-10", (0.05, 0.051, 0.052))
    set_q(tree, "teacher", "digits", "ddim-100", (0.04, 0.041, 0.042))
    tree.write()
    few = [
        c for c in claims(tree) if c["claim"] == "one evaluation beats few of the teacher's DDIM"
    ]
    assert [c["B"] for c in few] == [f"teacher, ddim-{n}" for n in (1, 2, 5, 10)]
    assert (few[0]["verdict"], few[-1]["verdict"]) == (HELD, NOT_HELD)
    close = claim(tree, "one evaluation comes within 0.10 of the teacher's DDIM")
    assert (close["B"], close["verdict"]) == ("teacher, ddim-100", HELD)
    assert float(close["MACs of A / B"]) == pytest.approx(0.01)


RESET = "dynamic reset helps"


def set_resets(tree, counts):
    for seed, count in enumerate(counts):
        path = tree.folder("autogan.search", "autogan", seed) / "arch.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"resets": count}))


def test_without_a_reset_nothing_is_said_of_resets(tree):
    """Two equal searches, whatever their networks score: no interval, no verdict of them."""
    tree.seeds = (0, 1, 2)
    set_q(tree, "autogan", "autogan", "gan", (0.10, 0.101, 0.102))
    set_q(tree, "autogan", "no-reset", "gan", (0.20, 0.201, 0.202))
    set_q(tree, "autogan", "random", "gan", (0.20, 0.201, 0.202))
    set_resets(tree.write(), (0, 0, 0))
    row = claim(tree, RESET)
    assert row["verdict"] == "no reset happened"
    assert row["q of A"]
    assert not any(row[name] for name in ("q of A - q of B", "95 % from", "to"))
    assert claim(tree, "search beats random search")["verdict"] == HELD


def test_seeds_without_a_reset_are_left_out_and_named(tree):
    """With seed 1, where nothing was reset, the interval would cover 0."""
    tree.seeds = (0, 1, 2, 3)
    set_q(tree, "autogan", "autogan", "gan", (0.10, 0.90, 0.101, 0.102))
    set_q(tree, "autogan", "no-reset", "gan", (0.20, 0.10, 0.202, 0.203))
    set_resets(tree.write(), (1, 0, 4, 2))
    row = claim(tree, RESET)
    assert row["verdict"] == f"{HELD}; no reset happened in seed 1"
    assert float(row["q of A - q of B"]) == pytest.approx(-0.302 / 3)
    set_resets(tree, (1, 0, 0, 2))
    assert claim(tree, RESET)["verdict"] == "undecided (2 seeds); no reset happened in seeds 1, 2"


def test_unequal_numbers_of_derived_networks_are_said(tree):
    tree.seeds = (0, 1, 2)
    set_q(tree, "autogan", "autogan", "gan", (0.10, 0.101, 0.102))
    set_q(tree, "autogan", "random", "gan", (0.20, 0.201, 0.202))
    tree.write()
    assert claim(tree, "search beats random search")["verdict"] == HELD
    path = tree.folder("autogan.student", "random", 1) / "selection.json"
    candidates = json.loads(path.read_text())["candidates"]
    path.write_text(json.dumps({"chosen": 0, "candidates": candidates[:1]}))
    verdict = claim(tree, "search beats random search")["verdict"]
    assert verdict == f"{HELD}; K 2 against 2, 1, 2"
    assert "K" not in claim(tree, "searching cell after cell helps")["verdict"]
    results = Results(tree.root, parse_render_settings(tree.settings()))
    assert "K is the number of networks" in " ".join(claims_table(results).notes)


def test_a_row_that_the_run_lacks_is_said(tree):
    tree.rows["dbnas"].remove("global")
    tree.rows["act"].remove("ct-macs")
    tree.write()
    verdicts = {c["claim"]: c["verdict"] for c in claims(tree)}
    assert verdicts["block-wise search beats global search"] == "not measured (no row global)"
    assert verdicts["ACT beats CT at equal training MACs"].startswith("not measured")


def test_a_system_that_the_run_lacks_makes_no_claims(tree):
    del tree.rows["act"]
    tree.write()
    assert {c["paper"] for c in claims(tree)} == {
        "DBNAS",
        "Denoising Student",
        "AutoGAN",
        "GAN Compression",
        "composition",
    }
