"""The project's own gates, in every seed of the published run (README names them)."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimgen.config.run import read_config
from slimgen.data.files import read_json
from slimgen.evaluation.record import REPORT, TRANSLATION, find, read_records

ROOT = Path(__file__).parents[2]
RUN = ROOT / "results" / "published"
SEEDS = read_config(ROOT / "config" / "published.yaml").seeds


def value(row: str, seed: int, metric: str, sampler: str | None = None) -> float:
    """Return a number of `system/row`."""
    path = RUN / "evaluation" / row / f"seed{seed}" / "records.json"
    return find(read_records(path), metric, sampler).value


def reference(dataset: str, metric: str, sampler: str | None = None) -> float:
    path = RUN / "evaluation" / "reference" / dataset / "records.json"
    return find(read_records(path), metric, sampler).value


def test_the_reporting_classifier_is_right() -> None:
    assert reference("digits", "classifier_accuracy") >= 0.96


@pytest.mark.parametrize("seed", SEEDS)
def test_diffusion(seed: int) -> None:
    teacher = value("teacher/digits", seed, "q", "ddim-50")
    assert teacher <= 0.10
    assert value("dbnas/S2-linear", seed, "q", "ddim-50") <= 1.5 * teacher + 0.03
    assert value("denoising_student/teacher", seed, "q") <= 0.15
    assert value("act/act", seed, "q", "consistency-1") <= 0.42


@pytest.mark.parametrize("seed", SEEDS)
def test_autogan(seed: int) -> None:
    assert value("autogan/autogan", seed, "q") <= 0.20
    own = reference("digits", "is_classifier", REPORT)
    assert value("autogan/autogan", seed, "is_classifier") >= 0.7 * own


@pytest.mark.parametrize("seed", SEEDS)
def test_compressed_pix2pix(seed: int) -> None:
    def both(metric: str) -> tuple[float, float]:
        sampler = None if metric.startswith("macs") else TRANSLATION
        rows = ("gan_compression/pix2pix", "gan_compression/teacher-pix2pix")
        small, teacher = (value(row, seed, metric, sampler) for row in rows)
        return small, teacher

    small, teacher = both("macs")
    assert teacher / small >= 9
    for metric in ("accuracy", "psnr"):
        small, teacher = both(metric)
        assert small >= 0.85 * teacher, metric
    small, teacher = both("q")
    assert small <= teacher / 0.85 + 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("search", ["pix2pix", "cyclegan", "gaugan"])
def test_a_budget_leaves_a_choice(search: str, seed: int) -> None:
    """At least a twentieth of the space keeps it, not its smallest member alone."""
    found = read_json(RUN / "gan_compression" / "search" / search / f"seed{seed}" / "arch.json")
    assert found["share_within_budget"] >= 0.05
