"""The one training loop: steps, log, checkpoints, signals. What a step does is the system's affair.

A system gives `update(step, rng) -> metrics` and names everything that changes in `state`. The loop
owns the rest, and holds one law: a run that is killed at any step and started again ends with the
weights of one that was never stopped, bit for bit, because all randomness comes from (seed, step).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from slimgen.config.base import Training
from slimgen.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from slimgen.training.job import Job, Stopped
from slimgen.training.log import LOGGED, Log
from slimgen.training.processes import any_of, rank, wait
from slimgen.training.seeding import derive_seed, make_rng

Update = Callable[[int, torch.Generator], dict[str, Any]]

SHARE = 0.01  # of the time may go into checkpoints
SHORTEST, LONGEST = 2.0, 900.0  # seconds between two checkpoints


def train(
    job: Job,
    settings: Training,
    *,
    update: Update,
    state: dict[str, Stateful],
    images_per_step: int | None = None,
    steps: int | None = None,
) -> None:
    """Run `update` for every step from the last checkpoint to the end.

    Args:
        job: the run; its state folder must be locked and opened.
        settings: steps, log and checkpoint periods, batch size.
        update: called with the step (from 0) and a random generator on the job's device that
            depends on (seed, step) alone; changes the objects in `state` and nothing else that
            lives longer than the step. Returns numbers or 0-d tensors to log, `loss` among them.
        state: name -> object with state_dict and load_state_dict: networks, optimizers, averages.
        images_per_step: for the rate; the batch size if not given.
        steps: number of steps if not `settings.steps`.

    Raises:
        Stopped: a signal came or the time budget is spent; the state is saved.
        StageError: a metric is not finite; the reason is in the state folder.
    """
    steps = settings.steps if steps is None else steps
    start, before = _restore(job, state)
    log = Log(
        job,
        steps=steps,
        start=start,
        before=before,
        images=images_per_step or settings.batch_size,
    )
    saved_at, period = time.monotonic(), checkpoint_period(settings)
    try:
        for step in range(start, steps):
            # Modules with their own randomness (dropout) draw from the global generator.
            stream = f"global/{rank()}" if rank() else "global"
            torch.manual_seed(derive_seed(job.seed, step, stream))
            log.add(update(step, make_rng(job.seed, step, "update", job.device)))
            done = step + 1
            if done % settings.log_every == 0 or done == steps:
                log.write(done)
            else:
                log.show(done)
            reason = job.stop_reason() if done < steps else None
            due = time.monotonic() - saved_at >= period
            stop, due = any_of(reason is not None, due and not rank())
            if stop or due:
                log.means(done)  # refuses to save a state that is not finite
                began = time.monotonic()
                if not rank():
                    _save(job, done, state, log)
                wait()
                saved_at = time.monotonic()
                period = checkpoint_period(settings, saved_at - began)
            if stop:
                reason = reason or "another process was asked to stop"
                print(f"{job.stage}: {reason}: saved at step {done} of {steps}", file=sys.stderr)
                raise Stopped(reason)
    finally:
        log.close()


def checkpoint_period(settings: Training, took: float = 0.0) -> float:
    """Return the seconds until the next checkpoint, after one that took `took` seconds.

    By default checkpoints take a hundredth of the time: a small network's are seconds apart, a
    large one's minutes, but never more than `LONGEST`.
    """
    if settings.checkpoint_seconds is not None:
        return settings.checkpoint_seconds
    return min(LONGEST, max(SHORTEST, took / SHARE))


def _restore(job: Job, state: dict[str, Stateful]) -> tuple[int, dict[str, Any] | None]:
    """Return the step to go on with, and the state of the log."""
    found = load_checkpoint(job.state)
    if found is None:
        return 0, None
    step, tree = found
    for name, item in state.items():
        item.load_state_dict(tree[name])
    return step, {name: tree[name] for name in LOGGED}


def _save(job: Job, step: int, state: dict[str, Stateful], log: Log) -> None:
    tree: dict[str, Any] = {name: item.state_dict() for name, item in state.items()}
    save_checkpoint(job.state, step, tree | log.state_dict())
