"""One configuration file is one run: the sections, the checks across sections, the error messages.

`load(mapping)` is the only door: Snakefile, command line and tests come through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from slimgen.config import act, autogan, dbnas, denoising_student, gan_compression
from slimgen.config.autogan import AutoGan
from slimgen.config.base import Settings, StageSettings
from slimgen.config.errors import ConfigError, WrongNameError, explain
from slimgen.config.gan_compression import GanCompression
from slimgen.config.names import check_names
from slimgen.config.samplers import check_samplers
from slimgen.config.sections import (
    Act,
    Classifier,
    Data,
    Dbnas,
    DenoisingStudent,
    Evaluation,
    Tables,
    Teacher,
    Track,
)
from slimgen.config.shared import (
    ClassifierTrain,
    DataPrepare,
    Measure,
    Reference,
    TeacherTrain,
    Translate,
)


class Config(Settings):
    """A whole run."""

    run: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name; results/{run}/.")
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="List of seeds, or their number."
    )
    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="A variant of data.prepare.")
    track_code: bool = Field(True, description="Edited code reruns the stages that use it.")
    data: Data = Data()
    classifier: Classifier = Classifier()
    teacher: Teacher = Teacher()
    evaluation: Evaluation = Evaluation()
    dbnas: Dbnas | None = None
    denoising_student: DenoisingStudent | None = None
    act: Act | None = None
    autogan: AutoGan | None = None
    gan_compression: GanCompression | None = None
    tables: Tables = Tables()
    track: Track = Track()
    cpu_seconds: dict[str, float] = Field(
        default_factory=dict,
        description="Measured CPU-seconds per job, `stage/variant`: seconds; a test adds them up.",
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="Promised wall time on two cores; the sum of cpu_seconds keeps to it.",
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _number_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, int) and value < 1):
            raise ValueError("at least one seed is needed")
        return tuple(range(value)) if isinstance(value, int) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value, default=0) < 0 or len(set(value)) != len(value):
            raise ValueError("seeds are at least 0, and none is there twice")
        return value

    @model_validator(mode="before")
    @classmethod
    def _dataset_variants(cls, values: Any) -> Any:
        """Every stage whose variant is a data set has at least the run's data set."""
        if not isinstance(values, dict) or not isinstance(values.get("dataset"), str):
            return values
        values = json.loads(json.dumps(values))
        stages = [("classifier", "train"), ("teacher", "train"), ("evaluation", "reference")]
        if values["dataset"] == "digits":  # another name must say what it is
            stages.append(("data", "prepare"))
        for section, stage in stages:
            group = values.setdefault(section, {})
            if isinstance(group, dict) and isinstance(group.setdefault(stage, {}), dict):
                variants = group[stage].setdefault("variants", {})
                if isinstance(variants, dict):
                    variants.setdefault(values["dataset"], {})
        trained = values["classifier"]["train"] if isinstance(values["classifier"], dict) else None
        searched = any(values.get(system) is not None for system in ("autogan", "gan_compression"))
        if searched and isinstance(trained, dict):
            variants = trained.get("variants")
            if isinstance(variants, dict):  # the classifier that rewards
                given = variants.get("reward") or {}
                if isinstance(given, dict):
                    rewards = {"dataset": values["dataset"], "images": "reward"}
                    variants["reward"] = rewards | given
        return values

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        check_names(self)
        check_samplers(self)
        for entry in self.track.without:
            if entry.partition("/")[0] not in STAGES:
                raise WrongNameError(
                    f"track.without = {entry!r}: no such stage; it can be {', '.join(STAGES)}"
                )
        return self


STAGES: dict[str, type[StageSettings]] = {
    "data.prepare": DataPrepare.settings_type(),
    "classifier.train": ClassifierTrain.settings_type(),
    "teacher.train": TeacherTrain.settings_type(),
    "evaluation.reference": Reference.settings_type(),
    "evaluation.measure": Measure.settings_type(),
    "evaluation.translate": Translate.settings_type(),
    "dbnas.supernet": dbnas.Supernet.settings_type(),
    "dbnas.search": dbnas.Search.settings_type(),
    "dbnas.student": dbnas.Student.settings_type(),
    "denoising_student.pairs": denoising_student.Pairs.settings_type(),
    "denoising_student.student": denoising_student.Student.settings_type(),
    "act.student": act.Student.settings_type(),
    "autogan.search": autogan.Search.settings_type(),
    "autogan.student": autogan.Student.settings_type(),
    "autogan.transfer": autogan.Transfer.settings_type(),
    "gan_compression.teacher": gan_compression.Teacher.settings_type(),
    "gan_compression.mobile_teacher": gan_compression.MobileTeacher.settings_type(),
    "gan_compression.pretrain": gan_compression.Pretrain.settings_type(),
    "gan_compression.supernet": gan_compression.Supernet.settings_type(),
    "gan_compression.search": gan_compression.Search.settings_type(),
    "gan_compression.student": gan_compression.Student.settings_type(),
    "gan_compression.export": gan_compression.Export.settings_type(),
}


# Their variants need not stand in the file: they follow from the rows and data sets of the run.
IMPLIED = (
    "classifier.train",
    "evaluation.reference",
    "evaluation.measure",
    "evaluation.translate",
)


def stage_group(config: Config, stage: str) -> Any:
    """Return the group of a stage, for example of "dbnas.search", or None if its system is off."""
    system, name = stage.split(".")
    section = getattr(config, system)
    return None if section is None else getattr(section, name)


def stage_settings(config: Config, stage: str, variant: str) -> StageSettings:
    """Return the complete settings of one variant of a stage.

    A variant that follows from others and that the file does not name has the common settings.
    Raises KeyError where the variant does not exist.
    """
    group = stage_group(config, stage)
    if group is None:
        raise KeyError(stage)
    if stage in IMPLIED and variant not in group.variants:
        return STAGES[stage].model_validate(group.model_dump(exclude={"variants"}, by_alias=True))
    return group.variant(variant)


def tracked(settings: StageSettings) -> str:
    """Return the string that Snakemake tracks: what differs from the defaults, keys sorted.

    `revision` is always part of it.
    """
    return json.dumps({**settings.changes(), "revision": settings.revision}, sort_keys=True)


def load(mapping: Mapping[str, Any]) -> Config:
    """Validate a configuration.

    Raises ConfigError with one line per fault: key path, value, what is allowed.
    """
    try:
        data = json.loads(json.dumps(mapping, default=str))
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, model=Config, data=data))) from None


def read_config(path: Path) -> Config:
    """Read and validate a config file.

    Raises ConfigError naming the file where it is missing, no YAML or wrong.
    """
    mapping = read_mapping(path)
    try:
        return load(mapping)
    except ConfigError as error:
        raise ConfigError(f"{path}:\n{error}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises ConfigError naming the file where it is missing or holds something else.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not YAML: it is no text") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(mapping, dict):
        empty = " (the file is empty)" if mapping is None else ""
        raise ConfigError(f"{path}: a config is a mapping of keys to values{empty}")
    return mapping


def parse_settings(stage: str, text: str) -> StageSettings:
    """Complete a stage's tracked settings (JSON) from the typed defaults.

    Raises ConfigError for an unknown stage, bad JSON or bad settings.
    """
    if stage not in STAGES:
        raise ConfigError(f"unknown stage {stage!r}; stages are {', '.join(STAGES)}")
    try:
        data = json.loads(text)
        return STAGES[stage].model_validate(data)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{stage}: settings are not JSON: {error}") from None
    except ValidationError as error:
        lines = explain(error, prefix=stage, model=STAGES[stage], data=data)
        raise ConfigError("\n".join(lines)) from None
