"""All randomness comes from (seed, step, stream), so a resumed run draws the same numbers."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch


def derive_seed(seed: int, step: int, stream: str) -> int:
    """Return a 63-bit seed that depends on all three and on nothing else."""
    text = f"{seed}/{step}/{stream}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def make_rng(
    seed: int, step: int, stream: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a fresh random generator for one stream of one step."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, step, stream))


@lru_cache(maxsize=4)
def _permutation(num_items: int, seed: int, epoch: int, stream: str) -> torch.Tensor:
    rng = make_rng(seed, epoch, f"permutation/{stream}")
    return torch.randperm(num_items, generator=rng)


def batch_indices(
    num_items: int,
    batch_size: int,
    step: int,
    seed: int,
    stream: str = "data",
    *,
    drop_last: bool = False,
) -> torch.Tensor:
    """Return the items of batch `step`, (batch_size,) int64: shuffled epochs laid end to end.

    Every item comes once per epoch; a batch may span the border of two epochs. With `drop_last` it
    does not, the rest of an epoch is left out, and so no batch holds an item twice.
    Raises ValueError where such a batch is larger than an epoch.
    """
    start = step * batch_size
    if drop_last:
        if batch_size > num_items:
            raise ValueError(f"a batch of {batch_size} different items out of {num_items}")
        epoch, number = divmod(step, num_items // batch_size)
        start = epoch * num_items + number * batch_size
    parts, needed = [], batch_size
    while needed:
        epoch, offset = divmod(start, num_items)
        part = _permutation(num_items, seed, epoch, stream)[offset : offset + needed]
        parts.append(part)
        start += len(part)
        needed -= len(part)
    return torch.cat(parts)
