"""Files and folders that a config names: those that are missing stop the run before any job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimgen.config.base import Settings, Variants
from slimgen.config.errors import ConfigError
from slimgen.config.run import Config

PATHS = ("path", "from_", "init_from", "inception_path", "lpips_path")


def check_paths(config: Config) -> None:
    """Look for every file and folder that the config names.

    Raises ConfigError with one line for each that is missing. `teacher.train.from` may also be a
    hub id, `owner/name`; what begins with `.`, `/` or `~`, or has another form, is a path.
    """
    lines = [
        f"config: {key} = {value!r}: no such file or folder"
        for key, value in named_paths(config, "")
        if not Path(value).expanduser().exists() and not (key.endswith("from") and is_hub_id(value))
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def is_hub_id(value: str) -> bool:
    """Tell whether a value has the form `owner/name` and names nothing below the current folder."""
    owner, slash, name = value.partition("/")
    if value[0] in "./~" or not slash or "/" in name:
        return False
    return not Path(owner).exists()


def named_paths(group: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield key path and value of every path in a group of settings."""
    if isinstance(group, Variants):
        for name in group.variants:
            yield from named_paths(group.variant(name), f"{prefix}variants.{name}.")
    elif isinstance(group, Settings):
        for name, field in type(group).model_fields.items():
            value = getattr(group, name)
            key = f"{prefix}{field.alias or name}"
            if name in PATHS and isinstance(value, str):
                yield key, value
            else:
                yield from named_paths(value, f"{key}.")
