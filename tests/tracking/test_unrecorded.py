"""Outputs of jobs that ended unseen are made known to Snakemake, those that it recorded are not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slimgen.tracking.snakemake_records import HOME, METADATA, record_path
from slimgen.tracking.unrecorded import mark_unrecorded

FOLDER = Path("results/r/a/b/x/seed0")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A checkout in which a job finished at time 100."""
    state = tmp_path / "runs/r/a/b/x/seed0"
    (state / "finished").mkdir(parents=True)
    (tmp_path / FOLDER).mkdir(parents=True)
    kept = state / "finished" / "settings.json"
    kept.write_text("{}")
    os.utime(kept, (100, 100))
    os.link(kept, tmp_path / FOLDER / "settings.json")
    (state / "finished.json").write_text(json.dumps({"fingerprint": "f", "time": 101.0}))
    return tmp_path


def record(root: Path, endtime: float) -> None:
    (root / METADATA).mkdir(parents=True)
    path = record_path(str(FOLDER / "settings.json"), root / METADATA)
    path.write_text(json.dumps({"endtime": endtime}))


@pytest.mark.parametrize("endtime", [None, 40.0], ids=["never recorded", "an older job's record"])
def test_a_job_that_nobody_recorded_is_planned_and_may_be_taken_back(
    finished: Path, endtime: float | None
) -> None:
    if endtime is not None:
        record(finished, endtime)
    assert mark_unrecorded("r", finished) == [FOLDER]
    incomplete = record_path(str(FOLDER / "settings.json"), finished / HOME / "incomplete")
    assert json.loads(incomplete.read_text()) == {"external_jobid": None}
    done = json.loads((finished / "runs/r/a/b/x/seed0/finished.json").read_text())
    assert done["fingerprint"] == "f"
    assert done["time"] > 1e9  # now: later than the start that asks


def test_a_recorded_job_is_left_alone(finished: Path) -> None:
    record(finished, 100.0)
    assert mark_unrecorded("r", finished) == []
    assert not (finished / HOME / "incomplete").exists()


def test_another_run_is_left_alone(finished: Path) -> None:
    assert mark_unrecorded("other", finished) == []
