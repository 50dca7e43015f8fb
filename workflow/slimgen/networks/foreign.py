"""Model folders of strangers: what in them asks for other code or other files is refused.

Nothing of it would run here anyway (classes are named by our code, weights are safetensors); but a
folder that asks for it is not the plain model that it would be read as.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARIES = ("diffusers", None)  # of the parts that a pipeline's index names


def config_fault(config: Mapping[str, Any], cls: Any) -> str | None:
    """Return what is odd in a network's config, or None: a key that its class does not know.

    `auto_map` (code in the folder) and `quantization_config` are such keys.
    """
    known = inspect.signature(cls).parameters
    odd = sorted(key for key in config if key not in known and not key.startswith("_"))
    return f"{cls.__name__} has no key {odd[0]!r}; nothing is loaded" if odd else None


def index_fault(index: Mapping[str, Any]) -> str | None:
    """Return what is odd in a pipeline's model_index.json, or None: code that is not diffusers'."""
    for name, entry in index.items():
        pipeline = name == "_class_name" and not isinstance(entry, str)
        part = isinstance(entry, list) and (not entry or entry[0] not in LIBRARIES)
        if pipeline or part:
            return f"{name} {entry!r} is code of its own; nothing is loaded"
    return None


def shards_fault(folder: Path, weights: str) -> str | None:
    """Return that a folder has an index of weights in several files, or None.

    diffusers would read it instead of the one file, and it names files anywhere.
    """
    index = folder / f"{weights}.index.json"
    if not index.exists():
        return None
    return f"{index}: weights in several files are not read; save them as one"
