"""Patches of scikit-learn's two photographs: a small second data set that needs no download."""

from __future__ import annotations

import hashlib

import numpy as np

from slimgen.data.errors import DataError
from slimgen.data.raw import Raw

PHOTOGRAPHS = ("china", "flower")
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def cut(grey: np.ndarray, size: int, *, name: str) -> np.ndarray:
    """Return the patches (n, size, size) of an image (h, w), side by side, row by row.

    What is left over at the right and at the bottom is dropped.
    Raises DataError where not one patch fits.
    """
    rows, columns = grey.shape[0] // size, grey.shape[1] // size
    if rows * columns == 0:
        raise DataError(
            f"{name}: no patch of {size} x {size} in {grey.shape[0]} x {grey.shape[1]} pixels"
        )
    kept = grey[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return kept.transpose(0, 2, 1, 3).reshape(-1, size, size)


def read_photo_patches(*, size: int, shrink: int) -> Raw:
    """Return grey patches (n, 1, size, size) of both photographs, each shrunk by `shrink` before.

    Grey values are rounded once, at the end. Raises DataError where no patch fits.
    """
    import sklearn.datasets

    parts = []
    for name in PHOTOGRAPHS:
        photograph = sklearn.datasets.load_sample_image(f"{name}.jpg")  # (427, 640, 3) uint8
        grey = photograph.astype(np.float64) @ LUMA
        squares = cut(grey, size * shrink, name=f"{name}.jpg")
        means = squares.reshape(-1, size, shrink, size, shrink).mean((2, 4))
        parts.append(np.rint(means).astype(np.uint8)[:, None])
    images = np.concatenate(parts)
    labels = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    sha256 = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    return Raw(images, labels, classes=PHOTOGRAPHS, sha256=sha256)
