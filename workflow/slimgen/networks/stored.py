"""Networks of diffusers' kind in a folder: config.json names the class, weights are safetensors.

The one place that checks class and tensors of what is read; nothing is unpickled or downloaded.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging

from slimgen.data.files import SCRATCH, atomic_path, read_json
from slimgen.networks.foreign import config_fault, shards_fault
from slimgen.networks.tensor_file import absent

WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' name


class ModelError(ValueError):
    """A model folder cannot be used; the message names the file and what is wrong."""


def one_line(error: BaseException) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises ModelError where the file is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist")
    try:
        value = read_json(path)
    except (ValueError, json.JSONDecodeError) as error:
        raise ModelError(str(error)) from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object")
    return value


def stored_class(folder: Path, allowed: tuple[str, ...]) -> str:
    """Return the name of a folder's class.

    Raises ModelError where it is none of those allowed.
    """
    path = folder / "config.json"
    name = read_object(path).get("_class_name")
    if name not in allowed:
        raise ModelError(f"{path}: class {name!r} is not allowed; it can be {' or '.join(allowed)}")
    assert isinstance(name, str)
    return name


def save_network(folder: Path, network: Any) -> None:
    """Write config.json and weights; each file appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
        network.save_pretrained(scratch, safe_serialization=True)
        for name in (WEIGHTS, "config.json"):
            with atomic_path(folder / name) as temporary:
                Path(scratch, name).replace(temporary)


def load_stored(folder: Path, cls: Any, device: torch.device | str = "cpu") -> Any:
    """Read a network of class `cls` in eval mode.

    Raises ModelError where the weights are missing, damaged or not those of the config.
    """
    config = folder / "config.json"
    if fault := config_fault(read_object(config), cls):
        raise ModelError(f"{config}: {fault}")
    if fault := shards_fault(folder, WEIGHTS):
        raise ModelError(fault)
    if fault := absent(folder / WEIGHTS):
        raise ModelError(f"{fault} (weights are read from safetensors only)")
    diffusers_logging.set_verbosity_error()  # what it warns of is an error of ours
    try:
        network, found = cls.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers raises many kinds here
        raise ModelError(f"{folder}: the weights cannot be read ({one_line(error)})") from None
    for kind, where in (("missing", "missing in the file"), ("unexpected", "not of the network")):
        names = sorted(found[f"{kind}_keys"])
        if names:
            raise ModelError(f"{folder / WEIGHTS}: tensors {len(names)} {where}, {names[0]} first")
    return network.to(device).eval()
