"""What every source of images becomes before it is split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Raw:
    """A whole data set: `images` uint8 (n, c, h, w), `labels` int64 (n,), -1 where there are none.

    `classes` names the labels 0, 1, ...; `test` (n,) is True for the official test images, None
    where the source has no official split; `sha256` identifies the bytes that were read; `notes`
    are further facts for the manifest.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    sha256: str
    test: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RawPairs:
    """What a source of pairs becomes: two sides, `inputs` and `targets`.

    `relation`: `aligned`, inputs[i] belongs to targets[i]; `divided`, they show the same thing, so
    each i is to be used on one side only; `unrelated`, the sides have nothing to do with each
    other. `input_classes` is 0 where inputs are images, else they are label maps (n, 1, h, w).
    """

    inputs: Raw
    targets: Raw
    relation: Literal["aligned", "divided", "unrelated"]
    input_classes: int = 0


def combined_sha256(digests: dict[str, str]) -> str:
    """Return one sha256 over the names and digests of several files, in the order of the names."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
