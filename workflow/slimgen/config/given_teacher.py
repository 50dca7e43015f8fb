"""A teacher from outside that cannot work stops the run before any job, where its folder tells.

The stage checks the same, and more, on the model itself; a hub id is looked at there alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimgen.config.errors import ConfigError
from slimgen.config.paths import is_hub_id
from slimgen.config.rows import has_teacher, row_names
from slimgen.config.run import Config, stage_settings
from slimgen.config.sampler_names import parse_sampler
from slimgen.config.shapes import known_shape

KEY = "config: teacher.train.from"


def check_given_teacher(config: Config) -> None:
    """Raise ConfigError with one line for each thing about the given teacher that cannot work."""
    teacher: Any = config.teacher.train.variant(config.dataset)
    named = teacher.from_
    if named is None or is_hub_id(named) or not has_teacher(config):
        return
    if lines := [f"{KEY} = {named!r}: {line}" for line in _faults(config, Path(named))]:
        raise ConfigError("\n".join(lines))


def _faults(config: Config, folder: Path) -> Iterator[str]:
    nested = (folder / "unet" / "config.json").is_file()
    unet = folder / "unet" if nested else folder
    network = _read(unet / "config.json")
    if network is None:
        yield "no config.json of a diffusers DDPM in it, nor in unet/"
        return
    if not [*unet.glob("*.safetensors"), *unet.glob("*.safetensors.dvc")]:
        yield f"no .safetensors in {unet} (pickled weights are not read)"
    data: Any = config.data.prepare.variant(config.dataset)
    channels, size = known_shape(data.source)
    own = network.get("in_channels"), network.get("sample_size")
    for what, theirs, ours in zip(("channels", "pixels"), own, (channels, size), strict=True):
        if isinstance(theirs, int) and ours is not None and theirs != ours:
            yield f"made for images of {theirs} {what}; those of {config.dataset} have {ours}"
    scheduler = _read(folder / ("scheduler" if nested else "") / "scheduler_config.json") or {}
    T = scheduler.get("num_train_timesteps")
    if not isinstance(T, int):
        return
    for sampler in _samplers(config):
        kind, nfe = parse_sampler(sampler)
        if kind in ("ddim", "ddpm") and nfe > T:
            yield f"sampler {sampler!r} of evaluation.measure, but its schedule has {T} timesteps"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _samplers(config: Config) -> list[str]:
    rows = row_names(config)
    measures: list[Any] = [stage_settings(config, "evaluation.measure", row) for row in rows]
    return list(dict.fromkeys(name for measure in measures for name in measure.samplers))
