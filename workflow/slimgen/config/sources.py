"""Where images come from: the sources of data.prepare."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slimgen.config.base import Settings


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
