"""The small end-to-end run through SLURM, and what ends before any job is submitted."""

from __future__ import annotations

import json

import pytest
from one_node import PATIENCE, Cluster, details, jobs, slurm

from slimgen.config.run import read_config
from slimgen.tracking.plan import pages, planned_jobs
from slimgen.tracking.status import page_outputs

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

CONFIG = "small.yaml"


@pytest.mark.parametrize(
    ("site", "line"),
    [
        (
            {"rules": {"teacher_train": {"gpu": 17}}},
            "slurm: teacher_train asks for 17 GPUs; the most in partition steady is 16; "
            "set `rules: teacher_train: gpu` or `gpus` in profiles/slurm/site.yaml",
        ),
        (
            {"rules": {"data_prepare": {"mem_mb": 10**6}}},
            "slurm: data_prepare asks for 1e+06 MB of memory; the most in partition steady is "
            "500000; set `rules: data_prepare: mem_mb` in profiles/slurm/site.yaml",
        ),
        (
            {"partition": "nowhere"},
            "slurm: no partition nowhere; there are: cancelled, killed, requeued, steady, urgent; "
            "set `partition` in profiles/slurm/site.yaml",
        ),
        ({"minute": 5}, "profiles/slurm/site.yaml: minute: Extra inputs are not permitted"),
    ],
    ids=["gpus", "memory", "partition", "unknown key"],
)
def test_an_impossible_request_ends_before_any_job(
    cluster: Cluster, site: dict[str, object], line: str
) -> None:
    cluster.set_site(**site)
    before = numbers()
    assert cluster.start("all", name="impossible").wait(PATIENCE) != 0
    assert line in cluster.read("impossible")
    assert numbers() == before
    assert not list((cluster.checkout.path / ".snakemake" / "locks").glob("*"))


def numbers() -> set[str]:
    return {number for entries in jobs().values() for number, _ in entries}


def test_from_data_to_report(cluster: Cluster) -> None:
    """Every stage as a job of the cluster, the measurements as one, pages beside Snakemake."""
    cluster.set_site(account=None, partition=None, minutes=600, group=4)
    assert cluster.start("all", name="said").wait(PATIENCE) == 0, cluster.read("said")
    config = read_config(cluster.checkout.path / CONFIG)
    results = cluster.checkout.path / "results" / "small"
    for page in pages(config):
        for file in page_outputs(page):
            assert (results / file).stat().st_size > 0, file
    assert (results / "report.html").stat().st_size > 1_000_000
    for job in planned_jobs(config):
        ran = json.loads((results / job.folder / "settings.json").read_text())
        assert ran["stage"] == job.stage
    assert [path for path in (cluster.checkout.path / "runs").rglob("*") if path.is_file()] == []
    ran_here = {name.split("_wildcards")[0]: entries for name, entries in jobs().items()}
    assert not any("render" in name for name in ran_here)
    assert {"rule_data_prepare", "rule_denoising_student_student"} <= set(ran_here)
    assert "rule_evaluation_measure" not in ran_here
    ((number, state),) = ran_here["rule_evaluations_evaluation_measure"]
    grouped = details(number)
    assert state == "COMPLETED"
    assert grouped["TimeLimit"] == "05:00:00"  # two measurements, each a quarter of 600 minutes
    assert grouped["MinMemoryNode"] == "16000M"  # one after the other
    assert grouped["TresPerJob"] == "gres:gpu:1"


def test_slurm_accounting_is_off_here(node: None) -> None:
    """The runs above show that `slurm-status-command: squeue` needs no slurmdbd."""
    assert "accounting_storage/none" in slurm("scontrol", "show", "config")
