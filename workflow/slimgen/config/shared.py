"""Settings of the stages that every system shares: data, classifier, teacher, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from slimgen.config.base import (
    Ema,
    Network,
    NoiseSchedule,
    Optimizer,
    Sampling,
    Settings,
    StageSettings,
    Training,
    Variants,
)


class DigitsSource(Settings):
    """scikit-learn's 1,797 real 8x8 grey images, embedded in the package."""

    kind: Literal["digits"] = "digits"


class FolderSource(Settings):
    """A folder of images; sub-folders, if there are any, are the classes."""

    kind: Literal["folder"] = "folder"
    path: str
    size: int | None = Field(None, ge=4, description="Centre-crop and resize to size x size.")
    channels: Literal[1, 3] = 3


class ArraySource(Settings):
    """An .npz file: `images` uint8 (n, h, w), (n, h, w, c) or (n, c, h, w), maybe `labels`."""

    kind: Literal["npz"] = "npz"
    path: str
    layout: Literal["auto", "nhwc", "nchw"] = Field(
        "auto", description="Where the channels are; auto: the axis with at most 4 entries."
    )


class DownloadSource(Settings):
    """A public data set, fetched once with a checksum, from a mirror first where one is set."""

    kind: Literal["download"] = "download"
    name: Literal["cifar10", "fashion_mnist", "cifar10_jpeg"]
    mirror: str | None = Field(
        None, description="Folder or base URL tried first (else the variable SLIMGEN_MIRROR)."
    )


Source = Annotated[
    DigitsSource | FolderSource | ArraySource | DownloadSource, Field(discriminator="kind")
]


class DataPrepareSettings(StageSettings):
    """data.prepare: read a source, split it for good, write arrays and a manifest."""

    source: Source = DigitsSource()
    search: int = Field(99, ge=1, description="Images of the search split.")
    validation: int = Field(99, ge=1, description="Images of the validation split.")
    report: int = Field(600, ge=2, description="Images of the report split.")
    split_seed: int = 0


class DataPrepare(DataPrepareSettings, Variants):
    """data.prepare; one variant per data set."""


class ClassifierTrainSettings(Training):
    """classifier.train: the feature network where Inception is not used."""

    steps: int = Field(20_000, ge=1)
    batch_size: int = Field(128, ge=1)
    channels: tuple[int, ...] = (32, 64, 64)
    features: int = Field(64, ge=2, description="Width of the penultimate layer.")
    dropout: float = Field(0.2, ge=0, lt=1)
    optimizer: Optimizer = Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2, decay="cosine")
    ema: Ema = Ema(decay=0.99, warmup=True)
    shift: float = Field(0.1, ge=0, description="Augmentation: shift as a fraction of the width.")
    rotate: float = Field(10.0, ge=0, description="Augmentation: rotation in degrees.")


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
    inception_path: str | None = Field(
        None, description="inception-2015-12-05.pt; default: clean-fid's cache, then the mirror."
    )
    num_images: int = Field(50_000, ge=2, description="Images drawn from the Gaussian fit.")
    is_splits: int = Field(10, ge=1)


class Reference(ReferenceSettings, Variants):
    """evaluation.reference; one variant per data set."""


class MeasureSettings(StageSettings):
    """evaluation.measure: every number about one model and one seed."""

    num_images: int = Field(50_000, ge=2)
    batch_size: int = Field(250, ge=1)
    samplers: tuple[str, ...] = Field(
        ("ddim-50",),
        description="`ddim-N`, `ddpm-N`, `dpm-N`, `dpmpp-N`: N evaluations, not one-step.",
    )
    consistency_steps: tuple[int, ...] = Field((1, 2), description="NFE of consistency models.")
    sampling: Sampling = Sampling()
    is_splits: int = Field(10, ge=1)
    kid_subset_size: int = Field(100, ge=2)
    kid_subsets: int = Field(100, ge=1)
    neighbours: int = Field(3, ge=1, description="k of precision and recall.")
    latency_batch: int = Field(1, ge=1)
    latency_repeats: int = Field(20, ge=3)
    grid: int = Field(8, ge=1, description="samples.png shows grid x grid images.")

    @model_validator(mode="after")
    def _samplers_are_known(self) -> MeasureSettings:
        for name in self.samplers:
            if parse_sampler(name)[0] in ("one-step", "consistency"):
                raise ValueError(f"sampler {name!r} is not one of diffusion models")
        return self


class Measure(MeasureSettings, Variants):
    """evaluation.measure; a variant is `system/row`, for example `teacher/digits`."""


def parse_sampler(name: str) -> tuple[str, int]:
    """Split `ddim-50` into ("ddim", 50); `one-step` is ("one-step", 1).

    Raises ValueError for a name of another form.
    """
    if name == "one-step":
        return name, 1
    kind, _, nfe = name.partition("-")
    known = kind in ("ddim", "ddpm", "dpm", "dpmpp", "consistency")
    if not known or not nfe.isdecimal() or int(nfe) < 1:
        raise ValueError(
            f"sampler {name!r}: use ddim-N, ddpm-N, dpm-N, dpmpp-N, consistency-N or one-step, "
            "for example ddim-50"
        )
    return kind, int(nfe)
