"""Settings of the stages that every system shares: data, classifier, teacher, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from slimgen.config.base import (
    Ema,
    Network,
    NoiseSchedule,
    Optimizer,
    Runtime,
    Sampling,
    Settings,
    StageSettings,
    Training,
    Variants,
)

# Of the TorchScript file that clean-fid and StyleGAN2-ADA use, as independent projects declare it.
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


class DigitsSource(Settings):
    """scikit-learn's 1,797 real 8x8 grey images, embedded in the package."""

    kind: Literal["digits"] = "digits"


class PhotoPatchesSource(Settings):
    """Grey patches of scikit-learn's two photographs, embedded in the package; the class is which.

    They lie side by side and share no pixel, so no image of a split is part of another split.
    """

    kind: Literal["photo_patches"] = "photo_patches"
    size: int = Field(8, ge=4, description="Patches of size x size pixels.")
    shrink: int = Field(
        2, ge=1, description="Before that the photographs become means over squares of this width."
    )


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
    name: Literal["cifar10", "fashion_mnist", "cifar10_jpeg", "stl10"]
    shrink: int = Field(
        1,
        ge=1,
        description="Images become means over squares this wide: 2 makes STL-10's 96 pixels 48.",
    )
    mirror: str | None = Field(
        None, description="Folder or base URL tried first (else the variable SLIMGEN_MIRROR)."
    )


class DigitPairsSource(Settings):
    """Pairs made of the digits, enlarged so that mean pooling gives the 8x8 images back."""

    kind: Literal["digit_pairs"] = "digit_pairs"
    task: Literal["edges", "strokes", "labels"] = Field(
        "edges",
        description="edges: outline -> digit; strokes: thin and thick ones, no image on both "
        "sides; labels: map of four grey levels -> digit.",
    )
    size: Literal[16, 32] = 16


class PairedFolderSource(Settings):
    """A pix2pix data set: A and B side by side in each image, in train/, val/ and test/."""

    kind: Literal["paired_folder"] = "paired_folder"
    path: str
    direction: Literal["AtoB", "BtoA"] = Field("AtoB", description="A is the left half.")
    size: int | None = Field(None, ge=4, description="Centre-crop and resize each half.")
    channels: Literal[1, 3] = 3


class UnpairedFolderSource(Settings):
    """A CycleGAN data set: trainA/ and trainB/, maybe testA/ and testB/."""

    kind: Literal["unpaired_folder"] = "unpaired_folder"
    path: str
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    size: int | None = Field(None, ge=4, description="Centre-crop and resize to size x size.")
    channels: Literal[1, 3] = 3


class LabelFolderSource(Settings):
    """A SPADE data set: label maps (grey, value = class) and images of equal names.

    In train_label/ and train_img/, maybe val_label/ and val_img/.
    """

    kind: Literal["label_folder"] = "label_folder"
    path: str
    classes: int = Field(ge=2, le=256, description="A pixel beyond them is `unknown`, the last.")
    size: int | None = Field(None, ge=4, description="Centre-crop and resize to size x size.")
    channels: Literal[1, 3] = 3


PairsSource = DigitPairsSource | PairedFolderSource | UnpairedFolderSource | LabelFolderSource
Source = Annotated[
    DigitsSource | PhotoPatchesSource | FolderSource | ArraySource | DownloadSource | PairsSource,
    Field(discriminator="kind"),
]


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
