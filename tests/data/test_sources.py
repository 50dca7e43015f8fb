"""Every source reads what it should and names what it cannot read."""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimgen.config.sources import ArraySource, DownloadSource, FolderSource
from slimgen.data.archive import read_members
from slimgen.data.arrays import read_arrays
from slimgen.data.errors import DataError
from slimgen.data.folder import read_folder
from slimgen.data.public import (
    FASHION_MNIST,
    read_cifar10,
    read_cifar10_jpeg,
    read_fashion_mnist,
    read_idx,
)
from slimgen.data.sources import read_digits, read_source

SHARED = Path(__file__).parents[3] / "shared" / "data"


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


# Digits


def test_digits_are_all_there_and_scaled_to_the_full_range():
    import sklearn.datasets

    raw, original = read_digits(), sklearn.datasets.load_digits()
    assert raw.images.shape == (1797, 1, 8, 8)
    assert raw.images.dtype == np.uint8
    assert (raw.images.min(), raw.images.max()) == (0, 255)
    assert np.array_equal(np.round(raw.images[:, 0] * (16 / 255)), original.images)
    assert np.array_equal(raw.labels, original.target)
    assert raw.classes == tuple("0123456789")


# Folders


def test_class_folders_are_the_classes(tmp_path):
    first = pixels(0, 6, 5, 3)
    save(tmp_path / "cat" / "b.png", first)
    save(tmp_path / "ant" / "deep" / "a.png", pixels(1, 6, 5, 3))
    save(tmp_path / "ant" / "c.PNG", pixels(2, 6, 5, 3))
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / ".DS_Store").write_text("hidden")
    save(tmp_path / ".hidden" / "x.png", first)
    raw = read_source(FolderSource(path=str(tmp_path)))
    assert raw.classes == ("ant", "cat")
    assert raw.labels.tolist() == [0, 0, 1]
    assert raw.notes["ignored_files"] == 3
    assert np.array_equal(raw.images[2], first.transpose(2, 0, 1))


def test_loose_images_have_no_labels_and_become_grey_where_asked(tmp_path):
    grey = pixels(0, 4, 7)
    save(tmp_path / "a.png", grey)
    raw = read_folder(tmp_path, channels=1)
    assert (raw.classes, raw.labels.tolist()) == ((), [-1])
    assert np.array_equal(raw.images, grey[None, None])
    assert np.array_equal(read_folder(tmp_path).images, np.repeat(grey[None, None], 3, axis=1))


def test_size_crops_the_centre_and_averages(tmp_path):
    image = np.zeros((8, 24, 3), dtype=np.uint8)  # only the centre square is white
    image[:, 8:16] = 255
    save(tmp_path / "wide.png", image)
    save(tmp_path / "small.png", np.full((2, 2, 3), 7, dtype=np.uint8))
    raw = read_folder(tmp_path, size=4)
    assert raw.images.shape == (2, 3, 4, 4)
    assert (raw.images[0] == 7).all()
    assert (raw.images[1] == 255).all()
    assert raw.notes["enlarged_images"] == 1


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255  # nearest or bilinear would pick single columns
    save(tmp_path / "stripes.png", stripes)
    inner = read_folder(tmp_path, size=8, channels=1).images[0, 0, :, 1:-1]
    assert np.abs(inner.astype(int) - 127.5).max() < 4


def test_a_new_pixel_changes_the_digest_and_a_new_name_too(tmp_path):
    save(tmp_path / "a.png", pixels(0, 4, 4, 3))
    first = read_folder(tmp_path).sha256
    assert read_folder(tmp_path).sha256 == first
    save(tmp_path / "a.png", pixels(1, 4, 4, 3))
    second = read_folder(tmp_path).sha256
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert len({first, second, read_folder(tmp_path).sha256}) == 3


def test_mixed_sizes_name_both_files_and_sizes(tmp_path):
    save(tmp_path / "a.png", pixels(0, 8, 6, 3))
    save(tmp_path / "b.png", pixels(0, 8, 9, 3))
    with pytest.raises(DataError, match=r"a\.png has 6x8 pixels and b\.png 9x8; set source\.size"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, size=4).images.shape == (2, 3, 4, 4)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_broken_image_is_named(tmp_path, damage):
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name, pixels(0, 32, 32, 3))
    bad = tmp_path / "b.png"
    data = bad.read_bytes()
    bad.write_bytes({"truncated": data[: len(data) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"b\.png: broken image"):
        read_folder(tmp_path)


def test_postscript_under_the_name_of_an_image_is_never_run(tmp_path, monkeypatch):
    """Pillow looks at the content, and starts Ghostscript for it."""
    bad = tmp_path / "b.png"
    image = Image.fromarray(pixels(0, 4, 4, 3))
    image.save(bad, "EPS")
    assert Image.open(bad).format == "EPS"

    def started(*words: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {words}")

    monkeypatch.setattr("subprocess.check_call", started)
    monkeypatch.setattr("subprocess.Popen", started)
    with pytest.raises(DataError, match=r"b\.png: broken image \(no image format is known for it"):
        read_folder(tmp_path)


def test_images_that_would_lose_something_are_refused(tmp_path):
    Image.fromarray(pixels(0, 4, 4).astype(np.uint16) * 256).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: more than 8 bits a channel"):
        read_folder(tmp_path)
    (tmp_path / "deep.png").unlink()
    rgba = pixels(0, 4, 4, 4)
    save(tmp_path / "glass.png", rgba)
    with pytest.raises(DataError, match=r"glass\.png: transparent pixels"):
        read_folder(tmp_path)
    rgba[..., 3] = 255
    save(tmp_path / "glass.png", rgba)
    assert np.array_equal(read_folder(tmp_path).images[0], rgba[..., :3].transpose(2, 0, 1))


def test_folders_that_are_no_data_sets_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone: no such folder"):
        read_folder(tmp_path / "gone")
    with pytest.raises(DataError, match=rf"{tmp_path.name}: no image in it \(of 0 files\)"):
        read_folder(tmp_path)
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(DataError, match=r"no image in it \(of 1 files\)"):
        read_folder(tmp_path)
    save(tmp_path / "ant" / "a.png", pixels(0, 4, 4, 3))
    (tmp_path / "bee").mkdir()
    with pytest.raises(DataError, match=r"bee: no image in this class folder"):
        read_folder(tmp_path)
    save(tmp_path / "loose.png", pixels(0, 4, 4, 3))
    with pytest.raises(DataError, match=r"loose\.png lies beside class folders"):
        read_folder(tmp_path)


# Arrays


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((5, 9, 7), "auto", (5, 1, 9, 7)),
        ((5, 9, 7, 1), "auto", (5, 1, 9, 7)),
        ((5, 9, 7, 3), "auto", (5, 3, 9, 7)),
        ((5, 2, 9, 7), "auto", (5, 2, 9, 7)),
        ((5, 4, 4, 3), "nhwc", (5, 3, 4, 4)),
        ((5, 6, 9, 7), "nchw", (5, 6, 9, 7)),
        ((5, 9, 7, 6), "nhwc", (5, 6, 9, 7)),
    ],
)
def test_arrays_of_every_layout(tmp_path, shape, layout, expected):
    images = pixels(0, *shape)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([2, 0, 1, 1, 0], np.int32))
    raw = read_source(ArraySource(path=str(tmp_path / "x.npz"), layout=layout))
    assert raw.images.shape == expected
    assert raw.labels.tolist() == [2, 0, 1, 1, 0]
    assert raw.classes == ("0", "1", "2")
    channels_first = {3: images[:, None], 4: images}[images.ndim]
    if shape[-1] == expected[1] != shape[1]:
        channels_first = np.moveaxis(images, -1, 1)
    assert np.array_equal(raw.images, channels_first)


def test_arrays_without_labels(tmp_path):
    np.savez(tmp_path / "x.npz", images=pixels(0, 3, 8, 8))
    raw = read_arrays(tmp_path / "x.npz")
    assert (raw.classes, raw.labels.tolist()) == ((), [-1, -1, -1])


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"images": pixels(0, 5, 3, 8, 4)},
            r"may have its channels first or last; set source\.layout",
        ),
        ({"images": pixels(0, 5, 6, 8, 8)}, r"may have its channels first or last"),
        ({"images": pixels(0, 5, 8)}, r"`images` has shape \(5, 8\)"),
        ({"images": np.zeros((5, 8, 8), np.float32)}, r"`images` is float32; use uint8"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, r"is empty"),
        ({"x": pixels(0, 5, 8, 8)}, r"no array `images`, only x"),
        (
            {"images": pixels(0, 2, 8, 8), "labels": np.arange(3)},
            r"`labels` is int64 of shape \(3,\)",
        ),
        ({"images": pixels(0, 2, 8, 8), "labels": np.ones(2)}, r"`labels` is float64"),
        ({"images": pixels(0, 2, 8, 8), "labels": np.array([-1, 3])}, r"`labels` has -1"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=rf"x\.npz: .*{message}"):
        read_arrays(tmp_path / "x.npz")


def test_files_that_are_no_whole_npz_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match=r"x\.npz: no such file"):
        read_arrays(path)
    np.savez(path, images=pixels(0, 9, 64, 64))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"x\.npz: not a whole \.npz file"):
        read_arrays(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"x\.npz: not a whole \.npz file"):
        read_arrays(path)
    np.savez(path, images=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz: Object arrays cannot be loaded"):
        read_arrays(path)
    assert not Path("unpickled").exists()
    np.savez(path, images=pixels(0, 9, 64, 64))
    data = bytearray(path.read_bytes())
    data[10_000] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz: damaged"):
        read_arrays(path)


# Public data sets


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def test_cifar10_binary_archive(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, size=(6, 4)).astype(np.uint8)
    images = pixels(1, 6, 4, 3, 32, 32)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        for k in [5, 3, 0, 1, 2, 4]:  # the order of the archive does not count
            records = np.concatenate([labels[k][:, None], images[k].reshape(4, -1)], axis=1)
            add(archive, f"cifar-10-batches-bin/{names[k]}", records.tobytes())
        add(archive, "cifar-10-batches-bin/readme.html", b"hello")
    raw = read_cifar10(tmp_path / "c.tar.gz")
    assert np.array_equal(raw.images, images.reshape(24, 3, 32, 32))
    assert np.array_equal(raw.labels, labels.reshape(-1))
    assert np.flatnonzero(raw.test).tolist() == [20, 21, 22, 23]


def test_cifar10_archive_without_a_batch_is_refused(tmp_path):
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        add(archive, "data_batch_1.bin", bytes(3073))
    with pytest.raises(DataError, match=r"c\.tar\.gz: no data_batch_2\.bin"):
        read_cifar10(tmp_path / "c.tar.gz")
    (tmp_path / "c.tar.gz").write_bytes((tmp_path / "c.tar.gz").read_bytes()[:60])
    with pytest.raises(DataError, match=r"c\.tar\.gz: not a whole tar archive"):
        read_cifar10(tmp_path / "c.tar.gz")


@pytest.mark.parametrize("name", ["../evil.bin", "/evil.bin", "a/../../evil.bin"])
def test_archive_members_outside_are_refused(tmp_path, name):
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        add(archive, name, b"x")
    with pytest.raises(DataError, match=r"c\.tar: member .* lies outside"):
        list(read_members(tmp_path / "c.tar"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_archive_members_that_are_no_files_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("data_batch_1.bin")
    info.type, info.linkname = kind, "data_batch_1.bin"
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(
        DataError, match=r"c\.tar: member 'data_batch_1\.bin' is not a regular file"
    ):
        list(read_members(tmp_path / "c.tar"))


def test_cifar10_jpeg_archive(tmp_path):
    def jpeg(value: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(file, "JPEG")
        return file.getvalue()

    members = {"test/00000_3.jpg": 30, "train/00001_7.jpg": 20, "train/00000_6.jpg": 10}
    with tarfile.open(tmp_path / "c.tar.xz", "w:xz") as archive:
        for name, value in members.items():
            add(archive, name, jpeg(value))
    raw = read_cifar10_jpeg(tmp_path / "c.tar.xz")
    assert raw.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert raw.labels.tolist() == [6, 7, 3]
    assert raw.test.tolist() == [False, False, True]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_fashion_mnist_files(tmp_path):
    arrays = [pixels(0, 6, 28, 28), pixels(1, 6) % 10, pixels(2, 2, 28, 28), pixels(3, 2) % 10]
    paths = {file.name: tmp_path / file.name for file in FASHION_MNIST}
    for path, array in zip(paths.values(), arrays, strict=True):
        path.write_bytes(gzip.compress(idx(array)))
    raw = read_fashion_mnist(paths)
    assert np.array_equal(raw.images[:, 0], np.concatenate([arrays[0], arrays[2]]))
    assert np.array_equal(raw.labels, np.concatenate([arrays[1], arrays[3]]))
    assert raw.test.tolist() == [False] * 6 + [True] * 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"plain", "not a whole gzip file"),
        (gzip.compress(idx(pixels(0, 5)))[:-6], "not a whole gzip file"),
        (gzip.compress(idx(pixels(0, 5))[:-1]), r"4 values, but its head says \(5,\)"),
        (gzip.compress(b"\0\0\x0d\x01" + bytes(8)), "not an IDX file of bytes"),
        (gzip.compress(b""), "not an IDX file of bytes"),
    ],
    # A gzip head holds the time: the default ids would differ between processes.
    ids=["plain", "cut gzip", "a value short", "other type", "empty"],
)
def test_idx_files_that_are_none_are_named(tmp_path, data, message):
    (tmp_path / "x.gz").write_bytes(data)
    with pytest.raises(DataError, match=rf"x\.gz: {message}"):
        read_idx(tmp_path / "x.gz")


@pytest.mark.skipif(not (SHARED / "fashion_mnist").is_dir(), reason="no mirror beside the checkout")
def test_real_fashion_mnist_from_the_mirror():
    raw = read_source(DownloadSource(name="fashion_mnist", mirror=str(SHARED)))
    assert raw.images.shape == (70_000, 1, 28, 28)
    assert raw.test.sum() == 10_000
    assert np.bincount(raw.labels[raw.test]).tolist() == [1000] * 10
    # Known means of the train images: 0.2860 of full scale.
    assert abs(raw.images[~raw.test].mean() / 255 - 0.2860) < 1e-4


@pytest.mark.skipif(not (SHARED / "cifar10").is_dir(), reason="no mirror beside the checkout")
def test_real_cifar10_jpeg_is_in_the_official_order(tmp_path):
    official = SHARED / "cifar10" / "cifar10_jpeg_official_order.tar.xz"
    with tarfile.open(official) as whole, tarfile.open(tmp_path / "c.tar", "w") as some:
        for member in itertools.islice(whole, 300):
            some.addfile(member, whole.extractfile(member))
    raw = read_cifar10_jpeg(tmp_path / "c.tar")
    lossless_path = SHARED / "cifar10" / "cifar10_lossless_subset.npz"
    with np.load(lossless_path, allow_pickle=False) as lossless:
        index = lossless["train_index"]
        both = index[index < 300]
        lossless_images = lossless["train_x"][: len(both)]
        labels = lossless["train_labels_all"]
    assert np.array_equal(raw.labels, labels[:300])
    error = np.mean((raw.images[both].astype(float) - lossless_images) ** 2)
    assert 10 * np.log10(255**2 / error) > 28  # dB; another order gives about 9
