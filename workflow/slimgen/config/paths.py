"""Files and folders that a config names: those that are missing stop the run before any job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimgen.config.base import MODEL_PATHS, PATHS, Settings, Variants
from slimgen.config.errors import ConfigError
from slimgen.config.run import Config


def check_paths(config: Config) -> None:
    """Look for every file and folder that the config names.

    Raises ConfigError with one line for each that is missing, or needed and not named.
    `teacher.train.from` may also be a hub id, `owner/name`; what begins with `.`, `/` or `~`, or
    has another form, is a path.
    """
    lines = [
        f"config: {key} = {value!r}: no such file or folder"
        for key, value in named_paths(config, "")
        if not Path(value).exists() and not (key.endswith("from") and is_hub_id(value))
    ]
    lines += [
        f"config: {key} = {value!r}: Snakemake takes braces in names for wildcards; rename it"
        for key, value in named_paths(config, "", MODEL_PATHS)
        if any("{" in str(path) or "}" in str(path) for path in [value, *weights_of(value)])
    ]
    rows: dict[str, Any] = {}
    if config.act is not None:
        rows = {name: config.act.student.variant(name) for name in config.act.student.variants}
    lines += [
        f"config: act.student.variants.{name}.lpips_path: not set; distance 'lpips' needs the "
        "weights of LPIPS-VGG16 (or set distance: pseudo_huber)"
        for name, row in rows.items()
        if row.distance == "lpips" and row.lpips_path is None
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def is_hub_id(value: str) -> bool:
    """Tell whether a value has the form `owner/name` and names nothing below the current folder."""
    owner, slash, name = value.partition("/")
    if value[0] in "./~" or not slash or "/" in name:
        return False
    return not Path(owner).exists()


def named_weights(settings: Settings) -> list[Path]:
    """Return the files of the finished models and weights that a stage's settings name.

    Their names stand in the settings, their bytes do not: whoever asks whether a job is up to date
    looks at these files too. A hub id names none.
    """
    return sorted(
        path for _, value in named_paths(settings, "", MODEL_PATHS) for path in weights_of(value)
    )


def weights_of(value: str) -> list[Path]:
    """Return the file of this name, or the configs and weights in the folder of this name.

    Hidden ones (a model that is being saved) are passed over.
    """
    path = Path(value)
    if path.is_file():
        return [path]
    found = [p for p in path.rglob("*") if p.suffix in (".json", ".safetensors")]
    return [p for p in found if not any(part[0] == "." for part in p.relative_to(path).parts)]


def named_paths(
    group: Any, prefix: str, names: tuple[str, ...] = PATHS
) -> Iterator[tuple[str, str]]:
    """Yield key path and value of every path in a group of settings."""
    if isinstance(group, Variants):
        for name in group.variants:
            yield from named_paths(group.variant(name), f"{prefix}variants.{name}.", names)
    elif isinstance(group, Settings):
        for name, field in type(group).model_fields.items():
            value = getattr(group, name)
            key = f"{prefix}{field.alias or name}"
            if name in names and isinstance(value, str):
                yield key, value
            else:
                yield from named_paths(value, f"{key}.", names)
