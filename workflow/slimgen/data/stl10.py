"""STL-10 (Coates et al. 2011): 5,000 train, 100,000 unlabelled and 8,000 test images of 96x96.

Read block by block out of the archive, so that the 2.8 GB of unlabelled images are never in memory
at full size where `shrink` asks for smaller ones. Unlabelled images have the label -1.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from slimgen.data.archive import open_members, whole_archive
from slimgen.data.download import RemoteFile
from slimgen.data.errors import DataError
from slimgen.data.files import digest
from slimgen.data.progress import Report, silent
from slimgen.data.raw import Raw
from slimgen.data.shrink import shrink_images

STL10 = RemoteFile(
    name="stl10_binary.tar.gz",
    checksum="md5:91f7769df0f17e558f3565bffb0c7dfb",  # as torchvision states
    address="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
)
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SIDE = 96
BYTES = 3 * SIDE * SIDE  # of an image
BLOCK = 500  # images read at a time
IMAGES = ("train_X", "unlabeled_X", "test_X")
LABELS = ("train_y", "test_y")


def read_images(file: IO[bytes], name: str, shrink: int, report: Report) -> np.ndarray:
    """Return the images of a member, uint8 (n, 3, h, w); the file holds them column by column.

    Raises DataError for a member that does not end with a whole image.
    """
    parts: list[np.ndarray] = []
    while data := file.read(BLOCK * BYTES):
        if len(data) % BYTES:
            raise DataError(f"{name}: its bytes are no multiple of {BYTES:,}, those of an image")
        block = np.frombuffer(data, np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 1, 3, 2)
        parts.append(shrink_images(block, shrink))
        report(f"stl10 {name}", sum(map(len, parts)), None)
    if not parts:
        raise DataError(f"{name}: it is empty")
    return np.concatenate(parts)


def read_stl10(path: Path, *, shrink: int = 1, report: Report = silent) -> Raw:
    """Return train, unlabelled and test images, 3x96x96 or smaller by `shrink`, in this order.

    Raises DataError for an archive of another form.
    """
    found: dict[str, np.ndarray] = {}
    with whole_archive(path):
        for member, file in open_members(path):
            name = PurePosixPath(member).stem
            if name in IMAGES:
                found[name] = read_images(file, name, shrink, report)
            elif name in LABELS:
                found[name] = np.frombuffer(file.read(), np.uint8).astype(np.int64) - 1  # 1..10
    for name in (*IMAGES, *LABELS):
        if name not in found:
            raise DataError(f"{path}: no {name}.bin in the archive")
    unlabelled = np.full(len(found["unlabeled_X"]), -1, dtype=np.int64)
    labels = np.concatenate([found["train_y"], unlabelled, found["test_y"]])
    images = np.concatenate([found[name] for name in IMAGES])
    if len(labels) != len(images) or labels.max() >= len(CLASSES):
        raise DataError(f"{path}: {len(images)} images, but {len(labels)} labels up to 10")
    test = np.arange(len(images)) >= len(images) - len(found["test_X"])
    return Raw(images, labels, classes=CLASSES, sha256=digest(path), test=test)
