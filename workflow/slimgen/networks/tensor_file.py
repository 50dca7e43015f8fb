"""Weights in one safetensors file: written whole or not at all, read with the reason of a fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from slimgen.data.files import atomic_path


def absent(path: Path) -> str | None:
    """Return that a file does not exist, and what brings it where DVC has it; None if it does."""
    if path.is_file():
        return None
    pointer = path.with_name(f"{path.name}.dvc")
    mend = f" (`dvc pull {pointer}` brings it)" if pointer.is_file() else ""
    return f"{path} does not exist{mend}"


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors of any device and layout."""
    plain = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    with atomic_path(path) as temporary:
        save_file(plain, temporary)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors; raises ValueError naming the file where it is missing or damaged."""
    if fault := absent(path):
        raise ValueError(fault)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: the weights cannot be read ({error})") from None


def load_weights(path: Path, network: nn.Module) -> None:
    """Give a network all of its weights.

    Raises ValueError naming the file where it is missing, damaged or another network's.
    """
    tensors = load_tensors(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: the weights cannot be read ({reason})") from None


def load_foreign(path: Path, network: nn.Module, *, name: str) -> None:
    """Give a network its weights from a user's file, which may hold others besides; freeze it.

    `name` tells the user which weights are meant. Raises ValueError naming the file where it is
    missing, damaged, or a tensor does not fit.
    """
    if not path.is_file():
        raise ValueError(f"{name} weights {path} do not exist (they are never downloaded)")
    try:
        found = load_tensors(path)
    except ValueError as error:
        raise ValueError(f"{name} weights {error}") from None
    own = network.state_dict()
    for key, tensor in own.items():
        if key not in found:
            raise ValueError(f"{name} weights {path}: tensor {key} is missing")
        if found[key].shape != tensor.shape:
            shapes = f"{tuple(found[key].shape)}, not {tuple(tensor.shape)}"
            raise ValueError(f"{name} weights {path}: tensor {key} has shape {shapes}")
    network.load_state_dict({key: found[key] for key in own})
    network.eval().requires_grad_(False)
