"""Beside slurmdbd both status commands see jobs end, in success and in failure."""

from __future__ import annotations

import shutil

import pytest
from one_node import PATIENCE, Cluster, slurm

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

ACCOUNTING = True
CONFIG = "storm.yaml"
CLASSIFIER = "results/storm/classifier/train/digits/seed0/model.safetensors"
REASON = "classifier.train digits seed 0 failed: classifier.train: loss is nan by step 5"


@pytest.mark.parametrize("status_command", ["squeue", "sacct"])
def test_jobs_that_succeed_and_fail_are_seen_to_end(cluster: Cluster, status_command: str) -> None:
    """`squeue` is the profile's; `sacct` is what docs/cluster.md names where squeue forgets."""
    for name in ("results", "runs"):
        shutil.rmtree(cluster.checkout.path / name, ignore_errors=True)
    cluster.set_site(partition="steady", minutes=60)
    options = ["--retries", "0", "--slurm-status-command", status_command]
    assert cluster.start(CLASSIFIER, *options, name=status_command).wait(PATIENCE) == 1
    said = cluster.read(status_command)
    assert REASON in said
    assert "1 of 2 steps (50%) done" in cluster.read("logs/snakemake.log")
    lines = slurm("sacct", "--noheader", "--allocations", "--parsable2", "--format=Comment,State")
    ended = [line.split("|")[-1] for line in lines.splitlines()]
    assert ended[-2:] == ["COMPLETED", "FAILED"]


def test_accounting_is_on_here(node: None) -> None:
    assert "accounting_storage/slurmdbd" in slurm("scontrol", "show", "config")
