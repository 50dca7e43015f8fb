"""Where jobs stand, from files alone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slimgen.config.run import Config, load, stage_settings
from slimgen.tracking.plan import PlannedJob, planned_jobs
from slimgen.tracking.status import (
    failure_notes,
    find_config,
    job_cells,
    last_checkpoint,
    page_outputs,
    read_status,
    recorded_config,
    status_line,
)


@pytest.fixture
def config() -> Config:
    act = {"student": {"steps": 5, "distance": "l2", "variants": {"act": {}, "ct": {}}}}
    return load({"run": "x", "dataset": "digits", "act": act})


def states(config: Config, root: Path) -> dict[str, str]:
    return {status.job.name: status.state for status in read_status(config, root)}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def finish(config: Config, root: Path, job: PlannedJob) -> Path:
    settings = stage_settings(config, job.stage, job.variant).model_dump(mode="json", by_alias=True)
    path = root / "results" / "x" / job.folder / "settings.json"
    write(path, {"settings": settings})
    return path


def test_everything_waits_at_first(config: Config, tmp_path: Path) -> None:
    assert set(states(config, tmp_path).values()) == {"waiting"}


def test_everything_is_done_at_last(config: Config, tmp_path: Path) -> None:
    for job in planned_jobs(config):
        finish(config, tmp_path, job)
    for page in ("act", "summary"):
        for file in page_outputs(page):
            write(tmp_path / "results" / "x" / file, "")
    assert set(states(config, tmp_path).values()) == {"done"}
    (tmp_path / "results" / "x" / "figures" / "pareto.pdf").unlink()
    assert states(config, tmp_path)["render summary"] == "waiting"


JOB = PlannedJob("act.student", "ct", 0)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda settings: settings.update(steps=6), "changed"),
        (lambda settings: settings.pop("rho"), "done"),  # a key that came since has its default
        (lambda settings: settings.update(gone=6), "changed"),
    ],
)
def test_settings_decide(
    config: Config, tmp_path: Path, change: Callable[[dict[str, object]], object], state: str
) -> None:
    path = finish(config, tmp_path, JOB)
    content = json.loads(path.read_text())
    change(content["settings"])
    write(path, content)
    assert states(config, tmp_path)[JOB.name] == state


def test_a_held_lock_is_a_running_job(config: Config, tmp_path: Path) -> None:
    state = tmp_path / "runs" / "x" / JOB.folder
    write(state / "fingerprint.json", {})
    progress = {"step": 3, "steps": 5, "images_per_second": 99.6, "seconds_left": 3700.0}
    write(state / "progress.json", progress)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        statuses = read_status(config, tmp_path)
    running = [status for status in statuses if status.state == "running"]
    assert [status.job for status in running] == [JOB]
    line = "act.student ct seed 0 (3/5, 100 img/s, 1:01:40 left)"
    assert status_line(statuses) == line
    assert states(config, tmp_path)[JOB.name] == "stopped"


def test_a_torn_file_is_no_crash(config: Config, tmp_path: Path) -> None:
    path = finish(config, tmp_path, JOB)
    path.write_text('{"settings": {"st')
    assert states(config, tmp_path)[JOB.name] == "waiting"


def test_the_config_of_the_last_start_is_found(tmp_path: Path) -> None:
    for run, started in (("x", 2000), ("y", 1000)):
        path = tmp_path / "logs" / run / "config.json"
        write(path, {"run": run, "dataset": "digits", "seeds": 3})
        os.utime(path, (started, started))
    assert find_config(None, tmp_path).run == "x"
    assert find_config("y", tmp_path).seeds == (0, 1, 2)
    assert recorded_config("y", tmp_path, since=1500) is None
    assert recorded_config("z", tmp_path) is None


def test_the_last_checkpoint_is_read_off_its_header(tmp_path: Path) -> None:
    import torch

    from slimgen.training.checkpoint import save_checkpoint

    assert last_checkpoint(tmp_path) == ""
    save_checkpoint(tmp_path, 120, {"weights": torch.zeros(3)})
    os.utime(tmp_path / "last.safetensors", (time.time() - 75.0, time.time() - 75.0))
    assert last_checkpoint(tmp_path) == "step 120, 1:15 ago"
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    assert last_checkpoint(tmp_path) == ""
    (tmp_path / "shard-000.npz").write_bytes(b"")
    assert last_checkpoint(tmp_path) == "1 shards, 0:00 ago"


def test_a_job_that_failed_for_its_own_reason_is_named(config: Config, tmp_path: Path) -> None:
    state = tmp_path / "runs" / "x" / JOB.folder
    write(state / "fingerprint.json", {})
    write(state / "progress.json", {"step": 3, "steps": 5, "device": "cuda"})
    write(state / "failure.json", {"reason": "loss is nan by step 3"})
    statuses = read_status(config, tmp_path)
    assert states(config, tmp_path)[JOB.name] == "failed"
    assert failure_notes(statuses) == ["act.student ct seed 0 failed: loss is nan by step 3"]
    (cells,) = (job_cells(status) for status in statuses if status.state == "failed")
    assert cells == ["  ct seed 0", "failed", "3/5", "", "", "cuda", ""]
