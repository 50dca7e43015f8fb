"""Prepared data sets: four disjoint splits of uint8 images, read whole into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimgen.data.files import read_json
from slimgen.data.split import SPLITS


@dataclass(frozen=True)
class Images:
    """One split: `images` uint8 (n, c, h, w), `labels` int64 (n,), -1 where there are none."""

    images: torch.Tensor
    labels: torch.Tensor
    num_classes: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    def batch(
        self,
        indices: torch.Tensor,
        device: torch.device | str = "cpu",
        flip: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Return images as floats in [-1, 1], (n, c, h, w), mirrored with p = 1/2 if `flip`."""
        x = normalize(self.images[indices].to(device))
        if flip is not None:
            mirrored = torch.rand(len(x), generator=flip, device=flip.device).to(x.device) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        return x


def load_manifest(folder: Path) -> dict[str, Any]:
    """Return a data set's manifest: source, checksum, split sizes, shape, number of classes."""
    return read_json(folder / "manifest.json")


def load_split(folder: Path, split: str) -> Images:
    """Read one split of a prepared data set.

    Raises ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: it is one of {', '.join(SPLITS)}")
    with np.load(folder / f"{split}.npz", allow_pickle=False) as file:
        images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    return Images(images, labels, num_classes=int(load_manifest(folder)["num_classes"]))


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Map uint8 0..255 to float32 -1..1."""
    return images.float().div(127.5).sub(1.0)


def to_uint8(x: torch.Tensor) -> torch.Tensor:
    """Map floats in [-1, 1] (clipped) to uint8 with rounding, as a PNG would store them."""
    return x.float().mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
