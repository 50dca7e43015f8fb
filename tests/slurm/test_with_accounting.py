"""Beside slurmdbd both status commands see jobs end, in success and in failure."""

from __future__ import annotations

import shutil

import pytest
from one_node import PATIENCE, Cluster, details, jobs, slurm, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

ACCOUNTING = True
CONFIG = "storm.yaml"
DATA = "results/storm/data/prepare/digits"
TEACHER = "results/storm/teacher/train/digits/seed0/diffusion_pytorch_model.safetensors"
CLASSIFIER = "results/storm/classifier/train/digits/seed0/model.safetensors"
REASON = "classifier.train digits seed 0 failed: classifier.train: loss is nan by step 5"


@pytest.mark.parametrize("status_command", ["squeue", "sacct"])
def test_jobs_that_succeed_and_fail_are_seen_to_end(cluster: Cluster, status_command: str) -> None:
    """`squeue` is the profile's; `sacct` is what docs/cluster.md names where squeue forgets."""
    for name in ("results", "runs"):
        shutil.rmtree(cluster.checkout.path / name, ignore_errors=True)
    cluster.run("data.prepare", "--config", CONFIG, "--variant", "digits", "--out", DATA)
    cluster.set_site(partition="steady", minutes=60, gpus=0)
    options = ["--retries", "0", "--slurm-status-command", status_command]
    started = cluster.start(TEACHER, CLASSIFIER, *options, name=status_command)
    assert started.wait(PATIENCE) == 1, cluster.read(status_command)
    assert REASON in cluster.read(status_command)
    assert (cluster.checkout.path / TEACHER).exists()
    assert "1 of 2 steps (50%) done" in cluster.read("logs/snakemake.log")
    wait_until(lambda: accounted()[-2:] == ["COMPLETED", "FAILED"], lambda: str(accounted()))
    number, _ = jobs()["rule_classifier_train_wildcards_digits_0"][-1]
    assert "TresPerJob" not in details(number)  # `gpus: 0`: everything runs on CPUs


def accounted() -> list[str]:
    """Return the states of all jobs that slurmdbd knows; slurmctld tells it a little later."""
    words = ("--noheader", "--allocations", "--parsable2", "--format=State")
    states = slurm("sacct", *words).split()
    return [*states[:-2], *sorted(states[-2:])]


def test_accounting_is_on_here(node: None) -> None:
    assert "accounting_storage/slurmdbd" in slurm("scontrol", "show", "config")
