"""The loop's law: killed at any step and started again, a run ends with the same bits."""

import json

import pytest
import torch
from stopping import same
from torch import nn

from slimgen.config.base import Optimizer, Training
from slimgen.training.checkpoint import Values
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.loop import checkpoint_period, train
from slimgen.training.optimizers import make_optimizer, optimizer_step
from slimgen.training.seeding import batch_indices

STEPS = 23


def settings(**changes):
    base = {"steps": STEPS, "batch_size": 8, "log_every": 5, "checkpoint_seconds": 1000}
    return Training.model_validate(base | changes)


def make_job(folder, **changes):
    (folder / "state").mkdir(parents=True, exist_ok=True)
    return Job(stage="test.loop", out=folder / "out", state=folder / "state", seed=3, **changes)


def run(job, run_settings, at_step=None):
    """Train a small network with dropout; `at_step(step)` is called inside every update."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    opt_settings = Optimizer(lr=1e-2, warmup=4, decay="cosine", clip_norm=1.0)
    optimizer = make_optimizer(network.parameters(), opt_settings)
    ema = Ema(network, decay=0.9, warmup=True)
    counter = Values(total=0.0)
    data = torch.arange(40.0).reshape(10, 4) / 40

    def update(step, rng):
        if at_step is not None:
            at_step(step)
        x = data[batch_indices(len(data), run_settings.batch_size, step, job.seed)]
        noise = torch.randn(x.shape, generator=rng)
        loss = network(x + noise).square().mean()
        loss.backward()
        optimizer_step(optimizer, opt_settings, step=step, steps=run_settings.steps)
        ema.update(network, step)
        counter["total"] += float(loss.detach())
        return {"loss": loss}

    state = {"network": network, "optimizer": optimizer, "ema": ema, "counter": counter}
    train(job, run_settings, update=update, state=state)
    return {**network.state_dict(), **{f"ema.{k}": v for k, v in ema.state_dict().items()}}, counter


@pytest.mark.parametrize("stop_at", [0, 1, 7, 21])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, stop_at):
    whole, whole_counter = run(make_job(tmp_path / "a"), settings())
    job = make_job(tmp_path / "b")

    def ask(step):
        if step == stop_at:
            job.signal_name = "SIGTERM"

    with pytest.raises(Stopped):
        run(job, settings(), at_step=ask)
    steps_seen = []
    resumed, counter = run(make_job(tmp_path / "b"), settings(), at_step=steps_seen.append)
    assert steps_seen == list(range(stop_at + 1, STEPS))
    assert same(whole, resumed)
    assert whole_counter.values == counter.values


def test_killed_between_checkpoints_resumes_from_the_last_one(tmp_path):
    whole, _ = run(make_job(tmp_path / "a"), settings())

    class Killed(BaseException):
        pass

    def kill(step):
        if step == 13:
            raise Killed

    with pytest.raises(Killed):
        run(make_job(tmp_path / "b"), settings(checkpoint_seconds=0), at_step=kill)
    steps_seen = []
    resumed, _ = run(make_job(tmp_path / "b"), settings(), at_step=steps_seen.append)
    assert steps_seen[0] == 13
    assert same(whole, resumed)


def test_another_seed_gives_other_weights(tmp_path):
    first, _ = run(make_job(tmp_path / "a"), settings())
    job = make_job(tmp_path / "b")
    job.seed = 4
    other, _ = run(job, settings())
    assert not same(first, other)


def test_log_lines_read_as_if_never_stopped(tmp_path):
    run(make_job(tmp_path / "a"), settings())
    job = make_job(tmp_path / "b")

    def ask(step):
        if step == 11:
            job.signal_name = "SIGUSR1"

    with pytest.raises(Stopped):
        run(job, settings(), at_step=ask)
    path = tmp_path / "b" / "state" / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 1')  # what a full disk leaves
    run(make_job(tmp_path / "b"), settings(checkpoint_seconds=0))

    def lines(name):
        text = (tmp_path / name / "state" / "log.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    assert [line["step"] for line in lines("b") if line.get("event") == "resumed"] == [12]
    kept = [(line["step"], line["loss"]) for line in lines("b") if "event" not in line]
    assert kept == [(line["step"], line["loss"]) for line in lines("a")]
    assert [step for step, _ in kept] == [5, 10, 15, 20, 23]


def test_checkpoints_take_a_hundredth_of_the_time_or_what_is_asked_for():
    assert checkpoint_period(settings(checkpoint_seconds=7), took=1.0) == 7
    default = settings(checkpoint_seconds=None)
    assert checkpoint_period(default) == 2  # before the first one
    assert [checkpoint_period(default, took) for took in (0.001, 0.1, 2.5, 60.0)] == [
        2,
        10,
        250,
        900,
    ]


def test_nan_ends_the_run_and_a_retry_repeats_the_reason(tmp_path):
    job = make_job(tmp_path)
    job.open_state()

    def update(step, rng):
        return {"loss": torch.tensor(float("nan") if step == 6 else 1.0)}

    with pytest.raises(StageError, match="loss is nan by step 10"):
        train(job, settings(), update=update, state={})
    with pytest.raises(StageError, match=r"loss is nan by step 10.*earlier attempt"):
        make_job(tmp_path).open_state()


def test_progress_is_published(tmp_path):
    job = make_job(tmp_path)
    run(job, settings())
    progress = json.loads((job.state / "progress.json").read_text())
    assert (progress["step"], progress["steps"]) == (STEPS, STEPS)
    assert progress["images_per_second"] > 0
    assert list(job.state.glob("events.out.tfevents.*"))
