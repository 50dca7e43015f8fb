"""A job outlives its Snakemake: the next one records its outputs and computes nothing twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import SMOKE, copy_checkout

from slimgen.config.run import read_config
from slimgen.tracking.snakemake_records import METADATA, read_record
from slimgen.training.job import PLANNED

pytestmark = pytest.mark.workflow


def test_a_job_that_ended_while_no_snakemake_looked_is_taken_over(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "a checkout", stand_in=False)
    run = read_config(checkout.path / SMOKE).run
    out = f"results/{run}/data/prepare/digits"
    words = ["data.prepare", "--config", SMOKE, "--variant", "digits", "--out", out]
    orphan = [sys.executable, "-m", "slimgen", *words]
    environment = checkout.environment(**{PLANNED: str(time.time())})
    subprocess.run(orphan, cwd=checkout.path, env=environment, check=True, capture_output=True)
    manifest, images = f"{out}/manifest.json", checkout.path / out / "train.npz"
    made = images.stat().st_ino
    assert checkout.plan(targets=(manifest,)) == {"data_prepare digits"}
    checkout.snakemake(manifest, "--cores", "1", "--configfile", SMOKE)
    log = checkout.path / "logs" / run / "data" / "prepare" / "digits.log"
    assert "an earlier start has finished this meanwhile" in log.read_text()
    assert images.stat().st_ino == made  # the very file, not one made again
    recorded = read_record(f"{out}/settings.json", checkout.path / METADATA)
    assert recorded is not None
    assert recorded["rule"] == "data_prepare"
    assert checkout.plan(targets=(manifest,)) == set()
