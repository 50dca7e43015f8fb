"""The sections of a configuration file: which stages each system has."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from slimgen.config import act, dbnas, denoising_student
from slimgen.config.base import Settings
from slimgen.config.shared import (
    ClassifierTrain,
    DataPrepare,
    Measure,
    Reference,
    TeacherTrain,
    Translate,
)


class Data(Settings):
    """Data sets."""

    prepare: DataPrepare = DataPrepare(variants={"digits": {}})


class Classifier(Settings):
    """Feature networks that the workflow trains."""

    train: ClassifierTrain = ClassifierTrain()


class Teacher(Settings):
    """The diffusion model that others compress: trained here, or `from` a diffusers folder."""

    train: TeacherTrain = TeacherTrain()

    @model_validator(mode="before")
    @classmethod
    def _from_belongs_to_train(cls, values: Any) -> Any:
        """`teacher.from` is the short way to write `teacher.train.from`."""
        if isinstance(values, dict) and "from" in values:
            values = dict(values)
            train = dict(values.get("train") or {})
            train["from"] = values.pop("from")
            values["train"] = train
        return values


class Evaluation(Settings):
    """How every model is measured."""

    reference: Reference = Reference()
    measure: Measure = Measure()
    translate: Translate = Translate()


class Dbnas(Settings):
    """Block-wise neural architecture search by distillation."""

    supernet: dbnas.Supernet = dbnas.Supernet()
    search: dbnas.Search = dbnas.Search()
    student: dbnas.Student = dbnas.Student()


class DenoisingStudent(Settings):
    """A DDIM teacher distilled into one network evaluation."""

    pairs: denoising_student.Pairs = denoising_student.Pairs()
    student: denoising_student.Student = denoising_student.Student()


class Act(Settings):
    """Adversarial consistency training."""

    student: act.Student = act.Student()


class Tables(Settings):
    """Rows of each table in their order; by default every row of the run."""

    dbnas: tuple[str, ...] | None = None
    denoising_student: tuple[str, ...] | None = None
    act: tuple[str, ...] | None = None
    autogan: tuple[str, ...] | None = None
    gan_compression: tuple[str, ...] | None = None


class Track(Settings):
    """What `python -m slimgen track` stores; no stage reads it."""

    after_run: bool = Field(False, description="`slimgen run` tracks a run that succeeded.")
    seeds: tuple[int, ...] | None = Field(
        None, description="Seeds whose weights and arrays DVC stores; default: every seed."
    )
    without: tuple[str, ...] = Field(
        (),
        description="Stages whose weights and arrays DVC does not store, or STAGE/FILE for one of "
        "the files that a stage writes.",
    )
