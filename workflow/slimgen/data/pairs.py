"""Prepared data sets of pairs: inputs and targets of image-to-image translation, one split.

The split's files are those of any data set, whose images are the targets; beside them lie the
inputs. Where pairs are aligned, inputs[i] belongs to targets[i]; else the two sides have nothing to
do with each other, not even their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from slimgen.data.dataset import load_manifest, normalize
from slimgen.data.split import SPLITS


@dataclass(frozen=True)
class Pairs:
    """One split: uint8 `inputs` and `targets` (n, c, h, w), int64 labels (n,), -1 where unknown.

    An input is an image, or a label map (n, 1, h, w) with values below `input_classes`.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    input_labels: torch.Tensor
    aligned: bool
    input_kind: Literal["image", "labels"] = "image"
    input_classes: int = 0
    num_classes: int = 0

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def input_channels(self) -> int:
        """Return the channels that a generator sees: of the image, or one per class."""
        return self.input_classes if self.input_kind == "labels" else self.inputs.shape[1]

    @property
    def target_channels(self) -> int:
        """Return the channels of a target."""
        return self.targets.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of an input."""
        return int(self.inputs.shape[-2]), int(self.inputs.shape[-1])

    def swapped(self) -> Pairs:
        """Return the way back: targets as inputs; both must be images."""
        if self.input_kind == "labels":
            raise ValueError("there is no way back from images to label maps")
        return replace(
            self,
            inputs=self.targets,
            targets=self.inputs,
            labels=self.input_labels,
            input_labels=self.labels,
        )

    def batch_inputs(
        self,
        indices: torch.Tensor,
        device: torch.device | str = "cpu",
        flip: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Return inputs as floats (n, input_channels, h, w): in [-1, 1], or one-hot.

        With `flip` each is mirrored with p = 1/2; equal generators mirror the same places, so
        aligned inputs and targets are drawn with two generators of one seed.
        """
        x = self.inputs[indices].to(device)
        if self.input_kind == "labels":
            x = F.one_hot(x[:, 0].long(), self.input_classes).permute(0, 3, 1, 2).float()
        else:
            x = normalize(x)
        return _mirrored(x, flip)

    def batch_targets(
        self,
        indices: torch.Tensor,
        device: torch.device | str = "cpu",
        flip: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Return targets as floats in [-1, 1], (n, target_channels, h, w), maybe mirrored."""
        return _mirrored(normalize(self.targets[indices].to(device)), flip)


def _mirrored(x: torch.Tensor, flip: torch.Generator | None) -> torch.Tensor:
    if flip is None:
        return x
    mirror = torch.rand(len(x), generator=flip, device=flip.device).to(x.device) < 0.5
    return torch.where(mirror[:, None, None, None], x.flip(-1), x)


def load_pairs(folder: Path, split: str) -> Pairs:
    """Read one split of a prepared data set of pairs.

    Raises ValueError for an unknown split and for a data set without inputs.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: it is one of {', '.join(SPLITS)}")
    manifest = load_manifest(folder)
    if "pairs" not in manifest:
        raise ValueError(f"{folder}: a data set of single images; pairs are needed here")
    with np.load(folder / f"{split}.npz", allow_pickle=False) as file:
        inputs, targets, labels, input_labels = (
            torch.from_numpy(file[name]) for name in ("inputs", "images", "labels", "input_labels")
        )
    return Pairs(
        inputs,
        targets,
        labels=labels,
        input_labels=input_labels,
        aligned=manifest["pairs"] == "aligned",
        input_kind=manifest["input_kind"],
        input_classes=int(manifest["input_classes"]),
        num_classes=int(manifest["num_classes"]),
    )
