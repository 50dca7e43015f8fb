"""Settings of the stages that every system shares: data, classifier, teacher, evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from slimgen.config.base import (
    Ema,
    Network,
    NoiseSchedule,
    Optimizer,
    Runtime,
    Sampling,
    StageSettings,
    Training,
    Variants,
)
from slimgen.config.sampler_names import parse_sampler
from slimgen.config.sources import DigitsSource, Source

# Of the TorchScript file that clean-fid and StyleGAN2-ADA use, as independent projects declare it.
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


class DataPrepareSettings(StageSettings):
    """data.prepare: read a source, split it for good, write arrays and a manifest."""

    source: Source = DigitsSource()
    search: int = Field(99, ge=1, description="Images of the search split.")
    validation: int = Field(99, ge=1, description="Images of the validation split.")
    report: int = Field(
        600,
        ge=2,
        description="Images of the report split; of the official test set if there is one.",
    )
    split_seed: int = 0


class DataPrepare(DataPrepareSettings, Variants):
    """data.prepare; one variant per data set."""


class ClassifierTrainSettings(Training):
    """classifier.train: the feature network where Inception is not used, or one that rewards."""

    dataset: str | None = Field(None, description="Variant of data.prepare; else the own name.")
    images: Literal["train", "reward"] = Field(
        "train",
        description="`reward`: the search split and half of train, for a classifier whose scores "
        "a search may look at.",
    )
    steps: int = Field(20_000, ge=1)
    batch_size: int = Field(128, ge=1)
    channels: tuple[int, ...] = (32, 64, 64)
    features: int = Field(64, ge=2, description="Width of the penultimate layer.")
    dropout: float = Field(0.2, ge=0, lt=1)
    optimizer: Optimizer = Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2, decay="cosine")
    ema: Ema = Ema(decay=0.99, warmup=True)
    shift: float = Field(0.1, ge=0, description="Augmentation: shift as a fraction of the width.")
    rotate: float = Field(10.0, ge=0, description="Augmentation: rotation in degrees.")
    scale: float = Field(0.1, ge=0, lt=1, description="Augmentation: relative change of size.")
    validate_every: int = Field(1000, ge=1, description="Steps between two validation accuracies.")


class ClassifierTrain(ClassifierTrainSettings, Variants):
    """classifier.train; one variant per data set."""


class TeacherTrainSettings(Training):
    """teacher.train: DDPM training of a diffusers UNet2DModel, or import of a finished one."""

    from_: str | None = Field(
        None, alias="from", description="Diffusers DDPM folder or hub id used instead of training."
    )
    steps: int = Field(800_000, ge=1)
    batch_size: int = Field(128, ge=1)
    network: Network = Network()
    schedule: NoiseSchedule = NoiseSchedule()
    prediction: Literal["eps", "x0", "v"] = "eps"
    timesteps: Literal["uniform", "antithetic", "logit_normal"] = "uniform"
    optimizer: Optimizer = Optimizer(lr=2e-4, warmup=5000, clip_norm=1.0)
    flip: bool = True


class TeacherTrain(TeacherTrainSettings, Variants):
    """teacher.train; one variant per data set."""


class ReferenceSettings(StageSettings):
    """evaluation.reference: statistics of the report split, floor and Gaussian fit."""

    features: Literal["classifier", "inception"] = "classifier"
    classifier: str | None = Field(
        None, description="Variant of classifier.train; else the data set's own name."
    )
    pool: int = Field(
        1, ge=1, description="Images are mean-pooled by this before the classifier sees them."
    )
    inception_path: str | None = Field(
        None,
        description="inception-2015-12-05.pt; default: clean-fid's cache, then SLIMGEN_MIRROR.",
    )
    inception_sha256: str = Field(
        INCEPTION_SHA256, pattern="^[0-9a-f]{64}$", description="Digest that the file must have."
    )
    num_images: int = Field(50_000, ge=2, description="Images drawn from the Gaussian fit.")
    batch_size: int = Field(250, ge=1)
    is_splits: int = Field(10, ge=1)
    kid_subset_size: int = Field(1000, ge=2, description="At most as many as either side has.")
    kid_subsets: int = Field(100, ge=1)
    neighbours: int = Field(3, ge=1, description="k of precision and recall.")


class Reference(ReferenceSettings, Variants):
    """evaluation.reference; one variant per data set."""


class MeasureSettings(StageSettings):
    """evaluation.measure: every number about one model and one seed."""

    num_images: int = Field(50_000, ge=2)
    batch_size: int = Field(250, ge=1)
    samplers: tuple[str, ...] = Field(
        ("ddim-50",),
        min_length=1,
        description="`ddim-N`, `ddpm-N`, `dpm-N`, `dpmpp-N` (N evaluations), for diffusion models.",
    )
    consistency_steps: tuple[int, ...] = Field(
        (1, 2), min_length=1, description="NFE of consistency models."
    )
    sampling: Sampling = Sampling()
    inception_path: str | None = Field(
        None, description="As in evaluation.reference; the digest is the reference's own."
    )
    runtime: Runtime = Field(
        Runtime(precision="fp32", compile=False),
        description="Of sampling and latency; the metrics are always computed in full precision.",
    )
    is_splits: int = Field(10, ge=1)
    kid_subset_size: int = Field(1000, ge=2, description="At most as many as either side has.")
    kid_subsets: int = Field(100, ge=1)
    neighbours: int = Field(3, ge=1, description="k of precision and recall.")
    latency_batch: int = Field(1, ge=1)
    latency_repeats: int = Field(20, ge=3)
    grid: int = Field(8, ge=1, description="samples.png shows grid x grid images.")

    @model_validator(mode="after")
    def _samplers_are_known(self) -> MeasureSettings:
        for name in self.samplers:
            if parse_sampler(name)[0] in ("one-step", "consistency"):
                raise ValueError(
                    f"sampler {name!r}: models of that kind are measured without naming it"
                )
        if min(self.consistency_steps) < 1:
            raise ValueError(f"consistency_steps {list(self.consistency_steps)}: at least 1 each")
        return self


class Measure(MeasureSettings, Variants):
    """evaluation.measure; a variant is `system/row`, for example `teacher/digits`."""


class TranslateSettings(StageSettings):
    """evaluation.translate: every number about one image-to-image generator and one seed."""

    batch_size: int = Field(250, ge=1)
    build: str | None = Field(
        None, description="The callable of a generator of kind custom, as in its settings."
    )
    inception_path: str | None = Field(
        None, description="As in evaluation.reference; the digest is the reference's own."
    )
    is_splits: int = Field(10, ge=1)
    kid_subset_size: int = Field(1000, ge=2, description="At most as many as either side has.")
    kid_subsets: int = Field(100, ge=1)
    neighbours: int = Field(3, ge=1, description="k of precision and recall.")
    latency_batch: int = Field(1, ge=1)
    latency_repeats: int = Field(100, ge=2)
    runtime: Runtime = Runtime(precision="fp32", compile=False)
    grid: int = Field(8, ge=1, description="samples.png shows grid x grid images.")


class Translate(TranslateSettings, Variants):
    """evaluation.translate; a variant is `system/row`, as `gan_compression/teacher-pix2pix`."""
