"""Sources: scikit-learn's images, arrays, folders, public data sets; they become `Raw`.

Sources of pairs become `RawPairs`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from slimgen.config.sources import (
    ArraySource,
    DigitPairsSource,
    DigitsSource,
    FolderSource,
    LabelFolderSource,
    PairedFolderSource,
    PhotoPatchesSource,
    Source,
    UnpairedFolderSource,
)
from slimgen.data.arrays import read_arrays
from slimgen.data.digit_pairs import digit_pairs
from slimgen.data.folder import read_folder
from slimgen.data.pair_folders import read_label_folder, read_paired_folder, read_unpaired_folder
from slimgen.data.photo_patches import read_photo_patches
from slimgen.data.progress import Report, silent
from slimgen.data.public import read_public
from slimgen.data.raw import Raw, RawPairs


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


def read_source(source: Source, report: Report = silent) -> Raw | RawPairs:
    """Read the images, or pairs of them, that the settings name.

    Raises DataError naming what is missing, broken or does not fit.
    """
    if isinstance(source, DigitsSource):
        return read_digits()
    if isinstance(source, PhotoPatchesSource):
        return read_photo_patches(size=source.size, shrink=source.shrink)
    if isinstance(source, ArraySource):
        return read_arrays(Path(source.path).expanduser(), source.layout)
    if isinstance(source, FolderSource):
        root = Path(source.path).expanduser()
        return read_folder(root, size=source.size, channels=source.channels, report=report)
    if isinstance(source, DigitPairsSource):
        return digit_pairs(read_digits(), source.task, size=source.size)
    if isinstance(source, PairedFolderSource):
        return read_paired_folder(source, report)
    if isinstance(source, UnpairedFolderSource):
        return read_unpaired_folder(source, report)
    if isinstance(source, LabelFolderSource):
        return read_label_folder(source, report)
    return read_public(source.name, shrink=source.shrink, mirror=source.mirror, report=report)
