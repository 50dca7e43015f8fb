"""One checkpoint is one safetensors file: a nested state, its step, and a digest of all of it.

Nested dicts of tensors and plain values are flattened; the structure travels as JSON in the
file's metadata, so that nothing is pickled. The previous checkpoint stays beside the last one:
a damaged file costs some steps, never the run, and is never resumed from.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from slimgen.data.files import atomic_path

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


class Stateful(Protocol):
    """Anything with a state: modules, optimizers, EMA, counters."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restore the state."""
        ...


class Values:
    """Plain numbers (augmentation p, an R1 average, windows of losses) that belong to the state."""

    def __init__(self, **values: Any) -> None:
        self.values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def state_dict(self) -> dict[str, Any]:
        """Return the values."""
        return dict(self.values)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values."""
        self.values = dict(state)


def _flatten(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        return {
            "dict": [[key, _flatten(item, f"{path}/{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, list | tuple):
        return {"list": [_flatten(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def _unflatten(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    kind, content = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unflatten(item, tensors) for key, item in content}
    if kind == "list":
        return [_unflatten(item, tensors) for item in content]
    return content


def _digest(step: str, tensors: dict[str, torch.Tensor], structure: str) -> str:
    """Return the sha256 of everything that a resume takes from the file."""
    sha = hashlib.sha256(f"{step}\n{structure}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write `state` at `step` as the last checkpoint; the former last becomes the previous one.

    Raises OSError (a full disk) with the former checkpoint untouched.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = json.dumps(_flatten(state, "", tensors))
    digest = _digest(str(step), tensors, structure)
    metadata = {"step": str(step), "structure": structure, "digest": digest}
    last = folder / LAST
    with atomic_path(last) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        if last.exists():
            last.replace(folder / PREVIOUS)


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Return (step, state) of the newest undamaged checkpoint, or None where there is none.

    A damaged one is told of and deleted: the next save would else make it the previous one.
    """
    damaged = False
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            return _read(path)
        except (SafetensorError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            print(f"checkpoint {path} is damaged and not used ({reason})", file=sys.stderr)
            path.unlink()
            damaged = True
    if damaged:
        print("no undamaged checkpoint is left: beginning at step 0", file=sys.stderr)
    return None


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    step, structure = metadata["step"], metadata["structure"]
    if _digest(step, tensors, structure) != metadata["digest"]:
        raise ValueError("its bytes do not match its digest")
    return int(step), _unflatten(json.loads(structure), tensors)
