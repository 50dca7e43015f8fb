"""N processes with a share of the batch each are one process with the whole batch.

Real processes, started with torchrun, that talk over gloo. Dropout is off: its masks are drawn per
process, which `training/processes.py` says.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slimgen.config.run import parse_settings
from slimgen.stage_command import find_stage
from slimgen.training import processes
from slimgen.training.job import EXIT_STOPPED, PLANNED, Job, StageError
from slimgen.training.launch import PARALLEL

pytestmark = pytest.mark.xdist_group("processes")
SCRIPT = Path(__file__).with_name("share_of_training.py")
UNET = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "attention": [False, False],
    "mid_attention": False,
    "norm_num_groups": 4,
    "dropout": 0.0,
}
# Live weights are compared: an average would hide how far they are apart.
COMMON = {
    "steps": 8,
    "batch_size": 16,
    "log_every": 4,
    "optimizer": {"lr": 2e-3, "eps": 1e-4, "clip_norm": 1.0},
    "ema": {"decay": 0.0},
}
TEACHER = {
    **COMMON,
    "network": UNET,
    "schedule": {"betas": "cosine", "num_train_timesteps": 50},
    "flip": True,
}
STAGES = {
    "teacher.train": (TEACHER, {"data": "data"}),
    "dbnas.supernet": (COMMON, {"teacher": "teacher.train", "data": "data"}),
    "dbnas.student": (
        {**COMMON, "search": "base", "init": "random"},
        {"teacher": "teacher.train", "data": "data"},
    ),
    "denoising_student.student": (
        {**COMMON, "test_every": 4},
        {"pairs": "denoising_student.pairs", "teacher": "teacher.train"},
    ),
}
PAIRS = {
    "sampler": "ddim-2",
    "sampling": {"spacing": "uniform"},
    "num_pairs": 64,
    "held_out": 16,
    "shard_size": 32,
    "batch_size": 32,
}


def run_alone(stage: str, settings: dict, inputs: dict, out: Path) -> None:
    out.mkdir(parents=True)
    job = Job(stage, out, Path(f"{out}.state"), seed=5)
    job.state.mkdir()
    find_stage(stage)[1](parse_settings(stage, json.dumps(settings)), job, **inputs)


def largest_difference(a: Path, b: Path) -> float:
    (name,) = [path.name for path in a.glob("*.safetensors")]
    one, two = load_file(a / name), load_file(b / name)
    assert one.keys() == two.keys()
    return max(float((one[key] - two[key]).abs().max()) for key in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Every stage that takes shares: by one process (`one`) and by two (`two`)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("shares")
    one, two, jobs = folder / "one", folder / "two", []
    run_alone("data.prepare", {}, {}, one / "data")
    for stage, (settings, names) in STAGES.items():
        inputs = {name: one / source for name, source in names.items()}
        if "pairs" in names:
            run_alone(
                "denoising_student.pairs", PAIRS, {"model": inputs["teacher"]}, inputs["pairs"]
            )
        run_alone(stage, settings, inputs, one / stage)
        jobs.append((stage, settings, {k: str(v) for k, v in inputs.items()}, str(two / stage)))
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(SCRIPT), str(folder / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_stage_that_takes_shares_is_tried() -> None:
    assert set(STAGES) == set(PARALLEL)


@pytest.mark.parametrize("stage", PARALLEL)
def test_two_processes_end_with_the_weights_of_one(trained, stage: str) -> None:
    assert largest_difference(trained / "one" / stage, trained / "two" / stage) < 1e-5


@pytest.mark.parametrize("stage", PARALLEL)
def test_the_log_holds_the_losses_of_the_whole_batch(trained, stage: str) -> None:
    losses = []
    for kind in ("one", "two"):
        lines = (trained / kind / f"{stage}.state" / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(processes, "size", lambda: 3)
    with pytest.raises(StageError, match="batch_size 16 cannot be divided among 3 processes"):
        processes.share(torch.zeros(16))


def test_shares_are_the_batch_in_its_order(monkeypatch) -> None:
    monkeypatch.setattr(processes, "size", lambda: 4)
    parts = []
    for number in range(4):
        monkeypatch.setattr(processes, "rank", lambda number=number: number)
        parts.append(processes.share(torch.arange(12), torch.arange(12) + 100))
    assert torch.equal(torch.cat([a for a, _ in parts]), torch.arange(12))
    assert torch.equal(torch.cat([b for _, b in parts]), torch.arange(12) + 100)


@pytest.mark.parametrize(("gpus", "then"), [(2, 1), (1, 2)])
def test_processes_that_are_stopped_go_on_as_another_number(
    trained, tmp_path, gpus: int, then: int
) -> None:
    """Stopped by a signal to the launcher; ends as an undisturbed run of one process does."""
    settings = {**TEACHER, "steps": 400, "checkpoint_seconds": 0}
    data, out = trained / "one" / "data", tmp_path / "results" / "split"
    argv = ["teacher.train", "--settings", json.dumps(settings), "--seed", "5", "--device", "cpu"]
    argv += ["--data", str(data), "--out", str(out)]
    command = [sys.executable, "-m", "slimgen", *argv, "--gpus"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, str(gpus)], env=environment, stderr=subprocess.PIPE, text=True
    )
    checkpoint = tmp_path / "runs" / "split" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == EXIT_STOPPED, errors[-3000:]
    assert "saved at step" in errors
    assert not out.exists() or not list(out.glob("*.safetensors"))
    subprocess.run([*command, str(then)], env=environment, check=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert any(line.get("event") == "resumed" for line in lines)
    run_alone("teacher.train", settings, {"data": data}, tmp_path / "alone")
    assert largest_difference(out, tmp_path / "alone") < 5e-4


def test_several_processes_take_back_what_another_start_has_finished(trained, tmp_path) -> None:
    settings = {**TEACHER, "steps": 2}
    out = tmp_path / "results" / "split"
    command = [sys.executable, "-m", "slimgen", "teacher.train", "--gpus", "2", "--device", "cpu"]
    command += ["--settings", json.dumps(settings), "--out", str(out)]
    command += ["--data", str(trained / "one" / "data")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", PLANNED: str(time.time())}
    subprocess.run(command, env=environment, check=True)
    (weights,) = out.glob("*.safetensors")
    made = weights.stat().st_ino
    for path in out.iterdir():  # as Snakemake does before the second start's job
        path.unlink()
    done = subprocess.run(command, env=environment, check=True, stderr=subprocess.PIPE, text=True)
    assert done.stderr.count("an earlier start has finished this meanwhile") == 1
    assert weights.stat().st_ino == made
