"""Settings of GAN Compression (Li et al. 2020): compact conditional generators.

Pipelines: `fast` goes teacher -> supernet -> search -> student -> export; the original one puts
mobile_teacher -> pretrain before the supernet. Which one a variant follows is what it names.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from slimgen.config.base import Runtime, Settings, StageSettings, Variants
from slimgen.config.labels import LabelledVariants
from slimgen.config.shared import INCEPTION_SHA256
from slimgen.config.translation import Generator, Part, TranslationSettings, tasks_with

Origin = tuple[str, str]  # stage, variant
SEPARABLE = (
    "Parts that are made of separable convolutions, beside those of the teacher; any part at all "
    "makes a SPADE generator mobile."
)
BUILD = "Generators of kind custom: the callable of the teacher, named again (docs)."


def split_origin(value: str) -> Origin:
    """Split `teacher/pix2pix` into stage and variant; raises ValueError for other forms."""
    stage, slash, variant = value.partition("/")
    if stage not in ("teacher", "mobile_teacher", "pretrain") or not slash or not variant:
        raise ValueError(
            f"{value!r}: a generator is named teacher/NAME, mobile_teacher/NAME or pretrain/NAME"
        )
    return stage, variant


class TeacherSettings(TranslationSettings):
    """gan_compression.teacher: pix2pix, CycleGAN (two generators) or GauGAN at full size."""

    dataset: str = Field("pairs", description="Variant of data.prepare, with inputs and targets.")
    generator: Generator = Generator()


class Teacher(TeacherSettings, LabelledVariants):
    """gan_compression.teacher; one variant per task."""

    variants: dict[str, dict[str, Any]] = {"pix2pix": {}}


class MobileTeacherSettings(TeacherSettings):
    """gan_compression.mobile_teacher: the same with separable convolutions in some parts."""

    MOVES = tasks_with({"semantic": {"generator": {"mobile": True}}})

    generator: Generator = Generator(separable=("blocks",), mobile=True)


class MobileTeacher(MobileTeacherSettings, LabelledVariants):
    """gan_compression.mobile_teacher; one variant per task, or per decomposed part."""


class DistilledSettings(TranslationSettings):
    """A narrower generator that learns from a wider one."""

    teacher: str = Field("teacher/pix2pix", description="Generator distilled: stage/variant.")
    lambda_distill: float = Field(1.0, ge=0)
    taps: tuple[str, ...] | None = Field(
        None, description="Module paths distilled from; by default those of the paper."
    )
    build: str | None = Field(None, description=BUILD)

    @field_validator("teacher", "begin_from", check_fields=False)
    @classmethod
    def _generator_is_named(cls, value: str | None) -> str | None:
        if value is not None:
            split_origin(value)
        return value

    @property
    def origin(self) -> Origin:
        """Return the teacher's stage and variant."""
        return split_origin(self.teacher)

    @field_validator("widths", mode="before", check_fields=False)
    @classmethod
    def _widths_are_text(cls, value: Any) -> Any:
        """Tell that `16_16_32` without quotes is a number to YAML."""
        if isinstance(value, int):
            raise ValueError("YAML reads 16_16_32 as one number: put it in quotes")
        if isinstance(value, list | tuple):
            raise ValueError("widths are text: '16_16_32_...', or the name of a published vector")
        return value


class PretrainSettings(DistilledSettings):
    """gan_compression.pretrain: a narrower mobile student, begun from the largest channels."""

    teacher: str = "mobile_teacher/pix2pix"
    ngf: int = Field(48, ge=1, description="Width of the student.")
    widths: str | None = Field(
        None, description="Given instead: 16_16_32_..., for generators of kind custom too."
    )
    begin: Literal["teacher", "random"] = Field(
        "teacher", description="`teacher`: its channels with the largest L1 norms."
    )
    discriminator_init: Literal["teacher", "fresh"] = "teacher"


class Pretrain(PretrainSettings, LabelledVariants):
    """gan_compression.pretrain; one variant per task."""


class SupernetSettings(DistilledSettings):
    """gan_compression.supernet: one network for every width vector, trained by distillation."""

    MOVES = tasks_with(
        {
            "unpaired": {"steps": 534_000, "config_set": "channels-64-cycleGAN"},
            "semantic": {"steps": 74_000, "config_set": "channels-64"},
        }
    )

    steps: int = Field(498_000, ge=1)
    begin: Literal["random", "teacher"] = Field(
        "random", description="`teacher`: the weights of a pretrain or mobile teacher."
    )
    begin_from: str | None = Field(
        None, description="stage/variant whose weights, and inherited D, it takes instead."
    )
    config_set: str | tuple[tuple[int, ...], ...] = Field(
        "channels-64-pix2pix", description="Name of a set, or options per entry, wide ones first."
    )
    separable: tuple[Part, ...] = Field(("blocks",), description=SEPARABLE)
    sampling: Literal["uniform", "sandwich"] = Field(
        "uniform", description="`sandwich`: the widest, the narrowest and some others each step."
    )
    sandwich: int = Field(1, ge=0, description="How many others.")
    discriminator_init: Literal["teacher", "fresh"] = "fresh"

    @property
    def beginning(self) -> Origin:
        """Return stage and variant of the generator whose weights `begin: teacher` takes."""
        return split_origin(self.begin_from or self.teacher)

    @model_validator(mode="after")
    def _begins_from_what_it_names(self) -> Self:
        if self.begin_from is not None and self.begin == "random":
            raise ValueError("begin_from: begin random takes no weights; set begin: teacher")
        return self


class Supernet(SupernetSettings, LabelledVariants):
    """gan_compression.supernet; one variant per task or pipeline."""

    variants: dict[str, dict[str, Any]] = {"pix2pix": {}}


class SearchSettings(StageSettings):
    """gan_compression.search: the best width vector within a budget, scored on the search split."""

    supernet: str = Field("pix2pix", description="Variant of gan_compression.supernet.")
    method: Literal["evolution", "exhaustive", "random"] = "evolution"
    criterion: Literal["fid", "accuracy", "psnr"] = "fid"
    features: Literal["classifier", "inception"] = Field(
        "classifier", description="fid: `classifier` is the one that rewards, never the reporting."
    )
    reward: str = Field("reward", description="Variant of classifier.train that scores.")
    inception_path: str | None = None
    inception_sha256: str = Field(INCEPTION_SHA256, pattern="^[0-9a-f]{64}$")
    pool: int = Field(1, ge=1, description="Images are mean-pooled before the classifier.")
    budget: float | None = Field(None, gt=0, description="MACs that may not be passed.")
    budget_ratio: float | None = Field(None, gt=1, description="or: the teacher's over this.")
    budget_rule: Literal["exact", "torchprofile"] = Field(
        "exact", description="`exact`: every product once; `torchprofile`: as the papers count."
    )
    latency_budget: float | None = Field(
        None, gt=0, description="Milliseconds of one image on this device (the median)."
    )
    latency_repeats: int = Field(20, ge=2)
    build: str | None = Field(None, description=BUILD)
    num_images: int = Field(2048, ge=2, description="Of the search split; at most what it has.")
    calibration_images: int = Field(256, ge=1, description="For norms with running statistics.")
    population: int = Field(100, ge=2)
    parent_ratio: float = Field(0.25, gt=0, le=1)
    mutation_ratio: float = Field(0.5, ge=0, le=1)
    mutate_probability: float = Field(0.2, ge=0, le=1)
    generations: int = Field(500, ge=0)
    weighting: Literal["uniform", "arithmetic", "geometric"] = "uniform"
    weighting_ratio: float = Field(2.0, gt=1)
    evaluations: int | None = Field(
        None, ge=1, description="random: vectors scored; by default as many as evolution draws."
    )
    batch_size: int = Field(64, ge=1)
    runtime: Runtime = Runtime(precision="fp32", compile=False)

    @property
    def origin(self) -> Origin:
        """Return the supernet's stage and variant."""
        return "supernet", self.supernet

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.budget is not None and self.budget_ratio is not None:
            raise ValueError("budget and budget_ratio: give one of them")
        if self.criterion == "accuracy" and self.features == "inception":
            raise ValueError("criterion accuracy: needs features classifier")
        return self


def rewarded(settings: SearchSettings) -> bool:
    """Return whether a search scores with a classifier that the run trains."""
    return settings.criterion != "psnr" and settings.features == "classifier"


class Search(SearchSettings, Variants):
    """gan_compression.search; one variant per task or method."""

    variants: dict[str, dict[str, Any]] = {"pix2pix": {}}


class StudentSettings(DistilledSettings):
    """gan_compression.student: the found subnet, fine-tuned; or a baseline of the same size."""

    search: str | None = Field("pix2pix", description="Variant of gan_compression.search.")
    widths: str | None = Field(
        None, description="Given instead: 16_16_32_..., or the name of a published vector."
    )
    separable: tuple[Part, ...] = Field(
        ("blocks",), description=f"Without a search: {SEPARABLE[0].lower()}{SEPARABLE[1:]}"
    )
    steps: int = Field(249_000, ge=0, description="0: the supernet's weights as they are.")
    arch: Literal["searched", "uniform"] = Field(
        "searched", description="`uniform`: one width everywhere, the widest within its MACs."
    )
    begin: Literal["supernet", "random"] = Field(
        "supernet", description="`supernet`: the weights that it has for the subnet."
    )
    distill: bool = Field(
        True, description="Off: no features of the teacher are matched (paired, semantic: alone)."
    )
    pseudo_pairs: bool = Field(
        True, description="unpaired: the teacher's outputs are the targets; off: cycles."
    )
    discriminator_init: Literal["teacher", "supernet", "fresh"] = Field(
        "teacher", description="`supernet`: that of the supernet searched in."
    )

    @model_validator(mode="after")
    def _begins_with_something(self) -> Self:
        if self.search is None and self.widths is None:
            raise ValueError("search: null needs widths")
        if self.search is None and (self.begin == "supernet" or self.arch == "uniform"):
            raise ValueError(
                "search: null has no supernet and no arch: begin random, arch searched"
            )
        if self.search is None and self.discriminator_init == "supernet":
            raise ValueError("search: null has no supernet: discriminator_init teacher or fresh")
        if self.task == "unpaired" and self.distill and not self.pseudo_pairs:
            raise ValueError("pseudo_pairs: off trains without the teacher; set distill off too")
        cycles = self.task == "unpaired" and not self.pseudo_pairs
        if cycles and self.discriminator_init == "supernet":
            raise ValueError("pseudo_pairs: off needs D of both ways; a supernet has only one")
        return self


class Student(StudentSettings, LabelledVariants):
    """gan_compression.student; one variant per row of the table."""

    variants: dict[str, dict[str, Any]] = {"pix2pix": {}}


class ExportSettings(StageSettings):
    """gan_compression.export: a student as ONNX, checked against torch."""

    opset: int = Field(18, ge=18, description="The first that torch's exporter writes.")
    build: str | None = Field(None, description=BUILD)
    latency_repeats: int = Field(100, ge=2, description="Runs of onnxruntime, one image each.")
    num_images: int = Field(8, ge=1, description="Inputs on which both are compared.")
    tolerance: float = Field(1e-3, gt=0, description="Largest difference of a pixel in [-1, 1].")


class Export(ExportSettings, Variants):
    """gan_compression.export; a variant is a row of gan_compression.student; by default none."""


class GanCompression(Settings):
    """Compact conditional generators."""

    teacher: Teacher = Teacher()
    mobile_teacher: MobileTeacher = MobileTeacher()
    pretrain: Pretrain = Pretrain()
    supernet: Supernet = Supernet()
    search: Search = Search()
    student: Student = Student()
    export: Export = Export()
