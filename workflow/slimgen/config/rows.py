"""The models of a run that are measured: rows of the tables, `evaluation/{system}/{row}`.

A row is named after its variant; where another stage than the system's `student` made it, the
stage's prefix stands before: `transfer-autogan`, `teacher-pix2pix`. So a row's name alone says
which stage made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimgen.config.run import Config

SYSTEMS = ("dbnas", "denoising_student", "act", "autogan", "gan_compression")
GANS = {"autogan", "gan_compression"}  # nothing of theirs begins with the diffusion model
# system -> prefix of a row -> the stage that made it
PREFIXES: dict[str, dict[str, str]] = {
    "autogan": {"transfer-": "transfer"},
    "gan_compression": {
        "teacher-": "teacher",
        "mobile-": "mobile_teacher",
        "pretrain-": "pretrain",
    },
}


def made_by(system: str, row: str) -> tuple[str, str]:
    """Return the stage and the variant that made a row's model: `autogan.transfer`, `autogan`."""
    if system == "teacher":
        return "teacher.train", row
    for prefix, stage in PREFIXES.get(system, {}).items():
        if row.startswith(prefix):
            return f"{system}.{stage}", row.removeprefix(prefix)
    return f"{system}.student", row


def has_teacher(config: Config) -> bool:
    """Return whether a run has a diffusion teacher: all but those of GANs alone."""
    named = {system for system in SYSTEMS if getattr(config, system) is not None}
    return not named or not named <= GANS


def model_rows(config: Config) -> dict[str, list[str]]:
    """Return system -> rows of every model that is measured, in the order of the tables."""
    rows = {"teacher": [config.dataset]} if has_teacher(config) else {}
    for system in SYSTEMS:
        section = getattr(config, system)
        if section is None:
            continue
        prefixes = {stage: prefix for prefix, stage in PREFIXES.get(system, {}).items()}
        rows[system] = [
            prefixes.get(stage, "") + variant
            for stage in type(section).model_fields
            if stage in prefixes or stage == "student"
            for variant in getattr(section, stage).variants
        ]
    return rows


def row_names(config: Config) -> list[str]:
    """Return `system/row` of every model that is measured, in the order of the tables."""
    return [f"{system}/{row}" for system, rows in model_rows(config).items() for row in rows]


def row_dataset(config: Config, system: str, row: str) -> str:
    """Return the data set that a row's model was trained on and is compared with."""
    stage, variant = made_by(system, row)
    if stage == "autogan.transfer":
        return _settings(config, stage, variant).dataset
    if system == "gan_compression":
        return translation_dataset(config, stage.split(".")[1], variant)
    return config.dataset


def translation_origin_of(config: Config, stage: str, variant: str) -> tuple[str, str]:
    """Return stage and variant of the model that a job of gan_compression begins with."""
    if stage == "export":  # named after the student
        return "student", variant
    origin: tuple[str, str] = _settings(config, f"gan_compression.{stage}", variant).origin
    return origin


def translation_dataset(config: Config, stage: str, variant: str) -> str:
    """Return the data set of a variant of gan_compression: its teacher's, all the way back."""
    while stage not in ("teacher", "mobile_teacher"):
        stage, variant = translation_origin_of(config, stage, variant)
    return _settings(config, f"gan_compression.{stage}", variant).dataset


def datasets(config: Config) -> list[str]:
    """Return the data sets of a run, its own first: those of its rows."""
    rows = model_rows(config).items()
    return list(
        dict.fromkeys(
            [config.dataset]
            + [row_dataset(config, system, row) for system, names in rows for row in names]
        )
    )


def _settings(config: Config, stage: str, variant: str) -> Any:
    system, name = stage.split(".")
    return getattr(getattr(config, system), name).variant(variant)
