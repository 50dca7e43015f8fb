"""The real Snakefile with the real stages, from data to report, in as few steps as possible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, SMOKE, Checkout, copy_checkout

from slimgen.config.run import read_config
from slimgen.tracking.plan import pages, planned_jobs
from slimgen.tracking.status import page_outputs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("end to end")]


def start(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slimgen", "run", "all", "--cores", "2", "--configfile", SMOKE]
    return subprocess.run(
        command,
        cwd=checkout.path,
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_data_to_report(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "a checkout", stand_in=False)
    done = start(checkout)
    assert done.returncode == 0, done.stderr[-3000:]
    config = read_config(ROOT / SMOKE)
    results = checkout.path / "results" / "smoke"
    for page in pages(config):
        for file in page_outputs(page):
            assert (results / file).stat().st_size > 0, file
    assert (results / "report.html").stat().st_size > 1_000_000
    assert (results / "tables" / "summary.md").read_text().rstrip() in done.stdout
    for job in planned_jobs(config):
        ran = json.loads((results / job.folder / "settings.json").read_text())
        assert ran["stage"] == job.stage
        assert len(ran["code"]) == 64
    # State is deleted when the outputs are written.
    assert [path for path in (checkout.path / "runs").rglob("*") if path.is_file()] == []
    again = start(checkout)
    assert again.returncode == 0
    assert "nothing was started" in again.stdout
