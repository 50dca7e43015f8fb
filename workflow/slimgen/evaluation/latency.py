"""Wall time of one network evaluation, with warm-up and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Median and interquartile range in milliseconds."""

    median: float
    spread: float
    batch: int
    threads: int


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def time_calls(
    call: Callable[[], object], *, batch: int, repeats: int, device: torch.device
) -> Latency:
    """Time `call`, which evaluates a network on `batch` images, `repeats` times after a warm-up."""
    times = []
    for _ in range(WARM_UP + repeats):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    low, median, high = statistics.quantiles(times[WARM_UP:], n=4)
    return Latency(median, high - low, batch, torch.get_num_threads())


@torch.no_grad()
def measure_latency(
    network: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    *,
    repeats: int,
    device: torch.device,
) -> Latency:
    """Time network(*inputs) `repeats` times after a warm-up; the first input holds the batch."""
    batch = len(inputs[0])
    return time_calls(lambda: network(*inputs), batch=batch, repeats=repeats, device=device)
