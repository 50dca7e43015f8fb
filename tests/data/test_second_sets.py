"""Photo patches and STL-10: the second data sets of AutoGAN's transfer."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from slimgen.config.sources import DownloadSource, PhotoPatchesSource
from slimgen.data.download import RemoteFile
from slimgen.data.errors import DataError
from slimgen.data.files import digest
from slimgen.data.photo_patches import cut, read_photo_patches
from slimgen.data.shrink import shrink_images
from slimgen.data.sources import read_source
from slimgen.data.stl10 import STL10, read_stl10


def test_patches_are_the_photographs_cut_in_pieces():
    from sklearn.datasets import load_sample_image

    raw = read_source(PhotoPatchesSource())
    per_photograph = (427 // 16) * (640 // 16)
    assert raw.images.shape == (2 * per_photograph, 1, 8, 8)
    assert raw.images.dtype == np.uint8
    assert raw.classes == ("china", "flower")
    assert np.bincount(raw.labels).tolist() == [per_photograph] * 2
    for label, name in enumerate(raw.classes):
        grey = load_sample_image(f"{name}.jpg").astype(float) @ [0.299, 0.587, 0.114]
        for row, column in ((0, 0), (0, 39), (13, 7), (25, 39)):
            patch = raw.images[label * per_photograph + row * 40 + column, 0]
            square = grey[16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)]
            for y, x in ((0, 0), (3, 5), (7, 7)):
                mean = square[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
                assert abs(int(patch[y, x]) - mean) <= 0.5 + 1e-9
    again = read_photo_patches(size=8, shrink=2)
    assert np.array_equal(again.images, raw.images)
    assert again.sha256 == raw.sha256


def test_patches_share_no_pixel():
    numbered = np.arange(20 * 30, dtype=float).reshape(20, 30)
    patches = cut(numbered, 7, name="x")
    assert patches.shape == (2 * 4, 7, 7)
    assert len(np.unique(patches)) == patches.size
    assert patches[5][0].tolist() == [217, 218, 219, 220, 221, 222, 223]  # row 7, column 7
    with pytest.raises(DataError, match="x: no patch of 21 x 21 in 20 x 30 pixels"):
        cut(numbered, 21, name="x")


def test_other_sizes_of_patches():
    assert read_photo_patches(size=16, shrink=1).images.shape == (2 * 26 * 40, 1, 16, 16)
    with pytest.raises(DataError, match=r"china\.jpg: no patch of 512 x 512"):
        read_photo_patches(size=8, shrink=64)


def test_shrunk_images_are_means_over_squares():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 4), dtype=np.uint8)
    small = shrink_images(images, 2)
    assert small.shape == (5, 3, 3, 2)
    assert small[4, 2, 1, 1] == np.rint(images[4, 2, 2:4, 2:4].astype(float).mean())
    assert shrink_images(images, 1) is images
    with pytest.raises(DataError, match="shrink = 4: it does not divide 6 x 4 pixels"):
        shrink_images(images, 4)


def write_stl10(path, *, without=None, cut_short=0, labels=4):
    """Write an archive of STL-10's form with 4 train, 3 unlabelled and 2 test images."""
    rng, members = np.random.default_rng(1), {}
    for name, count in (("train_X", 4), ("unlabeled_X", 3), ("test_X", 2)):
        members[name] = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
    members["train_y"] = np.array([1, 10, 3, 2][:labels], dtype=np.uint8)
    members["test_y"] = np.array([7, 1], dtype=np.uint8)
    with tarfile.open(path, "w:gz") as archive:
        for name, array in members.items():
            if name == without:
                continue
            # The official files hold every channel column by column.
            data = (array.transpose(0, 1, 3, 2) if array.ndim == 4 else array).tobytes()
            data = data[: len(data) - cut_short] if name == "test_X" else data
            info = tarfile.TarInfo(f"stl10_binary/{name}.bin")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return members


@pytest.mark.parametrize("shrink", [1, 2])
def test_stl10_is_train_unlabelled_and_test(tmp_path, shrink, monkeypatch):
    monkeypatch.setattr("slimgen.data.stl10.BLOCK", 2)
    members = write_stl10(tmp_path / "stl10.tar.gz")
    raw = read_stl10(tmp_path / "stl10.tar.gz", shrink=shrink)
    assert raw.labels.tolist() == [0, 9, 2, 1, -1, -1, -1, 6, 0]
    assert raw.test is not None
    assert raw.test.tolist() == [False] * 7 + [True] * 2
    whole = np.concatenate([members[name] for name in ("train_X", "unlabeled_X", "test_X")])
    assert np.array_equal(raw.images, shrink_images(whole, shrink))
    assert raw.sha256 == digest(tmp_path / "stl10.tar.gz")
    assert raw.classes[9] == "truck"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"without": "unlabeled_X"}, "no unlabeled_X.bin in the archive"),
        ({"cut_short": 5}, "test_X: its bytes are no multiple of 27,648"),
        ({"labels": 3}, "9 images, but 8 labels"),
    ],
)
def test_another_stl10_is_refused(tmp_path, fault, message):
    write_stl10(tmp_path / "stl10.tar.gz", **fault)
    with pytest.raises(DataError, match=message):
        read_stl10(tmp_path / "stl10.tar.gz")
    (tmp_path / "broken.tar.gz").write_bytes((tmp_path / "stl10.tar.gz").read_bytes()[:5000])
    with pytest.raises(DataError, match="not a whole tar archive"):
        read_stl10(tmp_path / "broken.tar.gz")


def test_stl10_comes_from_a_mirror_by_its_checksum(tmp_path, monkeypatch):
    (tmp_path / "stl10").mkdir()
    file = tmp_path / "stl10" / STL10.name
    write_stl10(file)
    source = DownloadSource(name="stl10", mirror=str(tmp_path), shrink=2)
    fake = RemoteFile(STL10.name, f"sha256:{digest(file)}")
    monkeypatch.setattr("slimgen.data.public.STL10", fake)
    assert read_source(source).images.shape == (9, 3, 48, 48)


def test_the_checksum_of_stl10_is_torchvisions():
    from torchvision.datasets import stl10

    theirs = stl10.STL10

    assert f"md5:{theirs.tgz_md5}" == STL10.checksum
    assert theirs.url == STL10.address
