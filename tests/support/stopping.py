"""Jobs that are asked to stop after some steps, and equality of what they leave, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slimgen.training.job import Job


@dataclass
class StoppingJob(Job):
    """A job that is asked to stop after some steps."""

    left: int = 10**9

    def stop_reason(self) -> str | None:
        self.left -= 1
        return "the test says so" if self.left <= 0 else None


def stopping_job(
    folder: Path, stage: str, *, stop_after: int | None = None, seed: int = 0
) -> StoppingJob:
    """Return a job with its outputs and its state below a folder, both made here."""
    out, state = folder / "out", folder / "state"
    out.mkdir(parents=True, exist_ok=True)
    state.mkdir(exist_ok=True)
    left = 10**9 if stop_after is None else stop_after
    return StoppingJob(stage=stage, out=out, state=state, seed=seed, left=left)


def same(a: Any, b: Any) -> bool:
    """Tell whether two trees of tensors are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b
