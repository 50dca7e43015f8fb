"""Pairs from folders, in the forms that pix2pix, CycleGAN and SPADE use.

pix2pix: one image holds A (left) and B (right), in train/ and maybe val/ and test/. CycleGAN:
trainA/, trainB/ and maybe testA/, testB/. SPADE: train_label/, train_img/ and maybe val_label/,
val_img/, equal names. What is not in a train folder is the official test set: the report split is
drawn from it alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from slimgen.config.sources import LabelFolderSource, PairedFolderSource, UnpairedFolderSource
from slimgen.data.errors import DataError
from slimgen.data.folder import centre_square, decode, list_images
from slimgen.data.progress import Report, silent
from slimgen.data.raw import Raw, RawPairs, combined_sha256

Cut = Callable[[Image.Image, Path], Image.Image]  # what is taken of an image
TRAIN = "train"


def read_paired_folder(source: PairedFolderSource, report: Report = silent) -> RawPairs:
    """Read images that hold A on the left and B on the right.

    Raises DataError naming what is missing, broken or of another size.
    """
    root = Path(source.path).expanduser()
    names = [TRAIN, *(name for name in ("val", "test") if (root / name).is_dir())]
    files = [(root / name, name != TRAIN) for name in names]
    left = _read_side(files, source, _half(0, source.size), report)
    right = _read_side(files, source, _half(1, source.size), report)
    inputs, targets = (left, right) if source.direction == "AtoB" else (right, left)
    return RawPairs(inputs, targets, relation="aligned")


def read_unpaired_folder(source: UnpairedFolderSource, report: Report = silent) -> RawPairs:
    """Read two sets of images that have nothing to do with each other.

    Raises DataError where one side has no image, or one is broken or of another size.
    """
    root = Path(source.path).expanduser()
    sides = {}
    for side in "AB":
        files = [(root / f"train{side}", False)]
        if (root / "testA").is_dir() or (root / "testB").is_dir():
            files.append((root / f"test{side}", True))
        for folder, _ in files:
            if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
                raise DataError(f"{folder}: empty; unpaired data needs images on both sides")
        sides[side] = _read_side(files, source, _whole(source.size), report)
    inputs, targets = sides[source.direction[0]], sides[source.direction[-1]]
    if inputs.images.shape[1:] != targets.images.shape[1:]:
        raise DataError(
            f"{root}: images of {_pixels(inputs.images)} on one side and "
            f"{_pixels(targets.images)} on the other; set source.size to bring them to one size"
        )
    return RawPairs(inputs, targets, relation="unrelated")


def read_label_folder(source: LabelFolderSource, report: Report = silent) -> RawPairs:
    """Read label maps and images of equal names (their endings may differ).

    Raises DataError where one has no partner, is broken or of another size.
    """
    root = Path(source.path).expanduser()
    names = [TRAIN, *(["val"] if (root / "val_label").is_dir() else [])]
    labels = [(root / f"{name}_label", name != TRAIN) for name in names]
    images = [(root / f"{name}_img", name != TRAIN) for name in names]
    for (maps, _), (photos, _) in zip(labels, images, strict=True):
        stems = [
            {path.with_suffix("") for path in list_images(folder)[0]} for folder in (maps, photos)
        ]
        alone = sorted(stems[0] ^ stems[1])
        if alone:
            raise DataError(f"{maps} and {photos}: {alone[0]} is in one of them only")
    inputs = _read_side(labels, source.model_copy(update={"channels": 1}), _labels(source), report)
    targets = _read_side(images, source, _whole(source.size), report)
    if inputs.images.shape[2:] != targets.images.shape[2:]:
        raise DataError(
            f"{root}: label maps of {_pixels(inputs.images)} and images of "
            f"{_pixels(targets.images)}; set source.size to bring them to one size"
        )
    return RawPairs(inputs, targets, relation="aligned", input_classes=source.classes)


def _pixels(images: np.ndarray) -> str:
    return f"{images.shape[3]}x{images.shape[2]} pixels"


def _whole(size: int | None) -> Cut:
    return lambda image, _: image if size is None else centre_square(image, size)


def _half(number: int, size: int | None) -> Cut:
    def cut(image: Image.Image, path: Path) -> Image.Image:
        if image.width % 2:
            raise DataError(f"{path}: {image.width} pixels wide; two halves need an even width")
        width = image.width // 2
        half = image.crop((number * width, 0, (number + 1) * width, image.height))
        return half if size is None else centre_square(half, size)

    return cut


def _labels(source: LabelFolderSource) -> Cut:
    def cut(image: Image.Image, path: Path) -> Image.Image:
        image = image.point([min(value, source.classes - 1) for value in range(256)])
        if source.size is None:
            return image
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        # Labels are names: their means are none.
        return image.crop((left, top, left + side, top + side)).resize(
            (source.size, source.size), Image.Resampling.NEAREST
        )

    return cut


def _read_side(
    folders: list[tuple[Path, bool]],
    source: PairedFolderSource | UnpairedFolderSource | LabelFolderSource,
    cut: Cut,
    report: Report,
) -> Raw:
    """Read the images of several folders, each (folder, whether it is the official test set)."""
    paths = [(root / name, test) for root, test in folders for name in list_images(root)[0]]
    digests: dict[str, str] = {}
    images: np.ndarray | None = None
    for i, (path, _) in enumerate(paths):
        data = path.read_bytes()
        digests[path.relative_to(Path(source.path).expanduser()).as_posix()] = hashlib.sha256(
            data
        ).hexdigest()
        image = cut(decode(data, path, source.channels), path)
        pixels = np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)
        if images is None:
            images = np.empty((len(paths), *pixels.shape), dtype=np.uint8)  # (n, c, h, w)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{path}: {image.width}x{image.height} pixels, others {_pixels(images)}; set "
                "source.size to bring them to one size"
            )
        images[i] = pixels
        report(f"images of {path.parent.name}", i + 1, len(paths))
    assert images is not None  # list_images returns at least one
    labels = np.full(len(images), -1, dtype=np.int64)
    test = np.array([test for _, test in paths])
    raw = Raw(images, labels, classes=(), sha256=combined_sha256(digests))
    return replace(raw, test=test) if test.any() else raw
