"""Public data sets: CIFAR-10 (Krizhevsky 2009; also as JPEG), Fashion-MNIST (Xiao 2017), STL-10.

Read straight out of their archives, without unpacking and without pickle: of CIFAR-10's official
versions the binary one is taken. All have an official test set.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from slimgen.data.archive import read_members
from slimgen.data.download import RemoteFile, fetch
from slimgen.data.errors import DataError
from slimgen.data.files import digest
from slimgen.data.progress import Report, silent
from slimgen.data.raw import Raw, combined_sha256
from slimgen.data.shrink import shrink_images
from slimgen.data.stl10 import STL10, read_stl10

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10 = RemoteFile(
    name="cifar-10-binary.tar.gz",
    checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",  # as its page states
    address="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
CIFAR10_JPEG = RemoteFile(
    name="cifar10_jpeg_official_order.tar.xz",
    checksum="sha256:ffb0746266fea40fb9efcb1cd1eeeba0e90dd66833ccd194f92168931151059e",
)
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_MNIST_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


def fashion_mnist_file(name: str, sha256: str) -> RemoteFile:
    """Return one of the four files of Fashion-MNIST."""
    return RemoteFile(name, f"sha256:{sha256}", f"{FASHION_MNIST_ADDRESS}/{name}")


FASHION_MNIST = (
    fashion_mnist_file(
        "train-images-idx3-ubyte.gz",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    fashion_mnist_file(
        "train-labels-idx1-ubyte.gz",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    fashion_mnist_file(
        "t10k-images-idx3-ubyte.gz",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    fashion_mnist_file(
        "t10k-labels-idx1-ubyte.gz",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes: 0, 0, 8, dimensions, sizes (big-endian), values.

    Raises DataError naming a file of another form.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    dimensions = data[3] if len(data) > 3 else 0
    start = 4 + 4 * dimensions
    if data[:3] != b"\0\0\x08" or len(data) < start:
        raise DataError(f"{path}: not an IDX file of bytes")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", count=dimensions, offset=4))
    if len(data) - start != int(np.prod(shape)):
        raise DataError(f"{path}: {len(data) - start:,} values, but its head says {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_fashion_mnist(paths: dict[str, Path]) -> Raw:
    """Return 60,000 train and 10,000 test images, 1x28x28, from the four official files."""
    parts = [read_idx(paths[file.name]) for file in FASHION_MNIST]
    images = np.concatenate([parts[0], parts[2]])[:, None]  # (n, 1, 28, 28)
    labels = np.concatenate([parts[1], parts[3]]).astype(np.int64)
    test = np.arange(len(images)) >= len(parts[0])
    sha256 = combined_sha256({name: digest(path) for name, path in paths.items()})
    return Raw(images, labels, classes=FASHION_MNIST_CLASSES, sha256=sha256, test=test)


def read_cifar10(path: Path) -> Raw:
    """Return the images of CIFAR-10's binary version, 3x32x32, in the official order.

    A record is one byte of label and 3,072 of pixels: red, green, blue plane, row by row.

    Raises DataError for an archive of another form.
    """
    batches: dict[str, np.ndarray] = {}
    for name, data in read_members(path):
        if re.fullmatch(r"(data_batch_[1-5]|test_batch)\.bin", PurePosixPath(name).name):
            if len(data) % 3073:
                raise DataError(f"{path}: {name} has {len(data):,} bytes, no multiple of 3,073")
            batches[PurePosixPath(name).stem] = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    expected = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    missing = [name for name in expected if name not in batches]
    if missing:
        raise DataError(f"{path}: no {missing[0]}.bin in the archive")
    records = np.concatenate([batches[name] for name in expected])
    test = np.arange(len(records)) >= len(records) - len(batches["test_batch"])
    return Raw(
        images=records[:, 1:].reshape(-1, 3, 32, 32),
        labels=records[:, 0].astype(np.int64),
        classes=CIFAR10_CLASSES,
        sha256=digest(path),
        test=test,
    )


def read_cifar10_jpeg(path: Path, report: Report = silent) -> Raw:
    """Return CIFAR-10's images from JPEGs named `train/INDEX_LABEL.jpg` and `test/...`.

    These are not CIFAR-10's pixels: numbers on them compare with nothing published.

    Raises DataError for an archive of another form.
    """
    pattern = re.compile(r"(train|test)/(\d{5})_(\d)\.jpg")
    found: list[tuple[bool, int, int, np.ndarray]] = []
    for name, data in read_members(path):
        match = pattern.fullmatch(name)
        if match is None:
            raise DataError(f"{path}: member {name!r} is not train/INDEX_LABEL.jpg or test/...")
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        found.append((match[1] == "test", int(match[2]), int(match[3]), pixels))
        report("cifar10_jpeg images", len(found), 60_000)
    found.sort(key=lambda item: item[:2])
    return Raw(
        images=np.stack([pixels for *_, pixels in found]).transpose(0, 3, 1, 2),  # (n, 3, 32, 32)
        labels=np.array([label for _, _, label, _ in found], dtype=np.int64),
        classes=CIFAR10_CLASSES,
        sha256=digest(path),
        test=np.array([test for test, *_ in found]),
    )


def read_public(
    name: str, *, shrink: int = 1, mirror: str | None = None, report: Report = silent
) -> Raw:
    """Fetch and read a public data set by its name; images become means over `shrink` pixels.

    Raises DataError where it cannot be fetched or is not what it should be.
    """
    if name == "stl10":
        path = fetch(STL10, folder="stl10", mirror=mirror, report=report)
        return read_stl10(path, shrink=shrink, report=report)
    if name == "fashion_mnist":
        files = {
            file.name: fetch(file, folder="fashion_mnist", mirror=mirror, report=report)
            for file in FASHION_MNIST
        }
        raw = read_fashion_mnist(files)
    elif name == "cifar10":
        raw = read_cifar10(fetch(CIFAR10, folder="cifar10", mirror=mirror, report=report))
    elif name == "cifar10_jpeg":
        path = fetch(CIFAR10_JPEG, folder="cifar10", mirror=mirror, report=report)
        raw = read_cifar10_jpeg(path, report)
    else:
        raise DataError(f"data set {name!r}: use cifar10, fashion_mnist, cifar10_jpeg or stl10")
    return replace(raw, images=shrink_images(raw.images, shrink))
