"""Images from an .npz file, of any size and channel count."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from slimgen.data.errors import DataError
from slimgen.data.files import digest
from slimgen.data.raw import Raw

Layout = Literal["auto", "nhwc", "nchw"]
MAX_CHANNELS = 4  # up to here `auto` takes an axis for the channels


def channels_first(images: np.ndarray, layout: Layout, *, name: str) -> np.ndarray:
    """Return images (n, h, w), (n, h, w, c) or (n, c, h, w) as (n, c, h, w).

    `auto` finds the channels by their number: exactly one of the first and the last axis of an
    image has at most four entries.

    Raises DataError where that is not so, or the array has another number of axes.
    """
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        allowed = "(n, h, w), (n, h, w, c) or (n, c, h, w)"
        raise DataError(f"{name}: `images` has shape {images.shape}; use {allowed}")
    if layout == "auto":
        first, last = images.shape[1] <= MAX_CHANNELS, images.shape[3] <= MAX_CHANNELS
        if first == last:
            raise DataError(
                f"{name}: `images` of shape {images.shape} may have its channels first or last;"
                " set source.layout to nchw or nhwc"
            )
        layout = "nchw" if first else "nhwc"
    return images if layout == "nchw" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def check_labels(labels: np.ndarray, count: int, *, name: str) -> np.ndarray:
    """Return labels as int64.

    Raises DataError unless they are `count` integers 0, 1, ..., or all -1.
    """
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name}: `labels` is {labels.dtype} of shape {labels.shape}; use integers ({count},)"
        )
    if labels.min() < 0 and not (labels == -1).all():
        raise DataError(f"{name}: `labels` has {labels.min()}; use 0, 1, ..., or -1 for all images")
    return labels.astype(np.int64)


def read_arrays(path: Path, layout: Layout = "auto") -> Raw:
    """Read `images` (uint8) and, where it is there, `labels` of an .npz file.

    Raises DataError naming the file and what does not fit.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a whole .npz file (numpy.savez writes them)")
    try:
        with np.load(path, allow_pickle=False) as file:
            if "images" not in file:
                raise DataError(
                    f"{path}: no array `images`, only {', '.join(file.files) or 'none'}"
                )
            images = file["images"]
            labels = file["labels"] if "labels" in file else np.full(len(images), -1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError) as error:
        raise DataError(f"{path}: damaged ({error})") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: {error}") from None  # an object array, which would be a pickle
    if images.dtype != np.uint8:
        raise DataError(f"{path}: `images` is {images.dtype}; use uint8, 0 to 255")
    if images.size == 0:
        raise DataError(f"{path}: `images` of shape {images.shape} is empty")
    labels = check_labels(labels, len(images), name=str(path))
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    images = channels_first(images, layout, name=str(path))
    return Raw(images, labels, classes=classes, sha256=digest(path))
