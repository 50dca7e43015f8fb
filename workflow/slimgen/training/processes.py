"""Several processes of one training, one per GPU: each computes its share of every batch.

All randomness of a step is drawn for the whole batch in every process, and each takes its own rows
then (`share`); before an optimizer's step the gradients are averaged. With equal shares of a mean
loss that is the gradient of one process on the whole batch, whatever their number: a checkpoint
holds nothing of it, and a run goes on with another number of processes. The first process alone
writes. Dropout is the exception: its masks are drawn per process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from slimgen.training.job import StageError

PATIENCE = timedelta(days=1)  # others wait while the first process waits for a lock, or saves
_control: list[Any] = []  # the group over which flags travel: on CPUs, so that no GPU waits


def rank() -> int:
    """Return the number of this process, 0 alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextlib.contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started; yield this one's device (as given where alone)."""
    if not distributed.is_torchelastic_launched():
        yield device
        return
    from accelerate import PartialState

    state = PartialState(cpu=not device.startswith("cuda"), timeout=PATIENCE)
    _control.append(distributed.new_group(backend="gloo", timeout=PATIENCE))
    try:
        yield str(state.device)
    finally:
        _control.clear()
        state.destroy_process_group()


def share(*batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return this process's rows of tensors that hold the whole batch.

    Raises StageError where the batch cannot be divided equally.
    """
    count, parts = len(batch[0]), size()
    if count % parts:
        raise StageError(f"batch_size {count} cannot be divided among {parts} processes")
    rows = slice(rank() * count // parts, (rank() + 1) * count // parts)
    return tuple(tensor[rows] for tensor in batch)


def average_gradients(parameters: Iterable[torch.Tensor]) -> None:
    """Replace every gradient by its mean over the processes."""
    if size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(whole)
    whole /= size()
    parts = whole.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: dict[str, float]) -> dict[str, float]:
    """Return the means of numbers over the processes; all give the same names."""
    if size() == 1 or not values:
        return values
    whole = torch.tensor(list(values.values()), dtype=torch.float64)
    distributed.all_reduce(whole, group=_control[0])
    return dict(zip(values, (whole / size()).tolist(), strict=True))


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Return each flag as true where any process has it: what all do together."""
    if size() == 1:
        return flags
    whole = torch.tensor([float(flag) for flag in flags])
    distributed.all_reduce(whole, group=_control[0])
    return tuple(bool(value) for value in whole)


def wait() -> None:
    """Wait until every process is here."""
    if size() > 1:
        distributed.barrier(group=_control[0])
