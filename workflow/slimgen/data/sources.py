"""Sources of images: scikit-learn's digits, arrays, folders, public data sets; all become `Raw`."""

from __future__ import annotations

import hashlib

import numpy as np

from slimgen.config.shared import DigitsSource, Source
from slimgen.data.errors import DataError
from slimgen.data.raw import Raw


def read_digits() -> Raw:
    """Return scikit-learn's 1,797 grey 8x8 images; their 17 levels 0..16 become 0..255."""
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (n, 1, 8, 8)
    labels = bunch.target.astype(np.int64)
    sha256 = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    return Raw(
        images, labels, classes=tuple(str(name) for name in bunch.target_names), sha256=sha256
    )


def read_source(source: Source) -> Raw:
    """Read the images that the settings name.

    Raises DataError naming what is missing, broken or does not fit.
    """
    if isinstance(source, DigitsSource):
        return read_digits()
    raise DataError(f"{source.kind}: not read yet")
