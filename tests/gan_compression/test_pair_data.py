"""Data sets of pairs: pooling, splits, sides, flips, folders in three forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slimgen.config.shared import DataPrepareSettings
from slimgen.config.sources import (
    DigitPairsSource,
    LabelFolderSource,
    PairedFolderSource,
    UnpairedFolderSource,
)
from slimgen.data.dataset import load_manifest, load_split, normalize
from slimgen.data.digit_pairs import digit_pairs, double
from slimgen.data.errors import DataError
from slimgen.data.pair_split import split_pairs
from slimgen.data.pairs import Pairs, load_pairs
from slimgen.data.sources import read_digits, read_source
from slimgen.data.split import SPLITS, split_indices
from slimgen.systems.shared.data.prepare import prepare
from slimgen.training.job import Job, StageError
from slimgen.training.seeding import make_rng

SIZES = {"search": 99, "validation": 99, "report": 600}


def pooled(images: np.ndarray) -> np.ndarray:
    n, c, h, w = images.shape
    return images.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5), dtype=np.float64)


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


def random_pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def run_prepare(tmp_path: Path, settings: DataPrepareSettings) -> Path:
    job = Job(stage="data.prepare", out=tmp_path / "out", state=tmp_path / "state")
    job.state.mkdir()
    job.out.mkdir()
    prepare(settings, job)
    return job.out


def test_pooling_gives_any_image_back_exactly():
    digits = read_digits().images
    noise = random_pixels(0, 40, 3, 6, 4)
    black_and_white = (noise > 127).astype(np.uint8) * 255
    for images in (digits, noise, black_and_white):
        larger = double(images)
        assert larger.dtype == np.uint8
        assert larger.shape[2:] == (2 * images.shape[2], 2 * images.shape[3])
        np.testing.assert_array_equal(pooled(larger), images)
    np.testing.assert_array_equal(pooled(pooled(double(double(digits[:99])))), digits[:99])


def test_doubling_is_smooth():
    ramp = np.arange(0, 160, 20, dtype=np.uint8)[None, None, :, None].repeat(4, axis=3)
    rows = double(ramp)[0, 0, :, 0].astype(int)
    np.testing.assert_array_equal(np.diff(rows)[2:-2], 10)


@pytest.mark.parametrize("task", ["edges", "labels", "strokes"])
def test_the_splits_are_those_of_the_digits(task):
    digits = read_digits()
    parts = split_indices(digits.labels, SIZES, seed=7)
    raw = digit_pairs(digits, task)
    sides = split_pairs(raw, SIZES, seed=7)
    assert list(sides) == list(SPLITS)
    for name, (inputs, targets) in sides.items():
        if task == "strokes":
            assert set(inputs).isdisjoint(targets)
            assert sorted([*inputs, *targets]) == sorted(parts[name])
            counts = [np.bincount(digits.labels[side], minlength=10) for side in (inputs, targets)]
            assert set((counts[0] - counts[1]).tolist()) <= {0, 1}
        else:
            np.testing.assert_array_equal(inputs, parts[name])
            np.testing.assert_array_equal(targets, parts[name])
            images = raw.targets.images[targets]
            np.testing.assert_array_equal(pooled(images), digits.images[parts[name]])


def test_what_the_inputs_are():
    digits = read_digits()
    x = double(digits.images)
    edges = digit_pairs(digits, "edges").inputs.images
    assert set(np.unique(edges)) == {0, 255}
    assert not (edges[x >= 128]).any()
    beside = np.zeros_like(x, dtype=bool)
    inside = x >= 128
    beside[:, :, 1:] |= inside[:, :, :-1]
    beside[:, :, :-1] |= inside[:, :, 1:]
    beside[..., 1:] |= inside[..., :-1]
    beside[..., :-1] |= inside[..., 1:]
    np.testing.assert_array_equal(edges > 0, beside & ~inside)

    strokes = digit_pairs(digits, "strokes")
    assert (strokes.inputs.images <= x).all()
    assert (x <= strokes.targets.images).all()
    assert strokes.inputs.images.mean() < 0.7 * x.mean() < 0.5 * strokes.targets.images.mean()

    labels = digit_pairs(digits, "labels")
    assert labels.input_classes == 4
    low = labels.inputs.images.astype(int) * 64
    assert ((low <= x) & (x < low + 64)).all()
    assert np.unique(labels.inputs.images).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("task", ["edges", "labels", "strokes"])
def test_prepared_and_read_again(tmp_path, task):
    source = DigitPairsSource(task=task)
    out = run_prepare(tmp_path, DataPrepareSettings(source=source))
    manifest = load_manifest(out)
    raw = digit_pairs(read_digits(), task)
    sides = split_pairs(raw, SIZES, seed=0)
    kinds = ("labels", 4) if task == "labels" else ("image", 0)
    for split in SPLITS:
        pairs, alone = load_pairs(out, split), load_split(out, split)
        inputs, targets = sides[split]
        assert torch.equal(pairs.targets, alone.images)
        assert torch.equal(pairs.labels, alone.labels)
        np.testing.assert_array_equal(pairs.inputs.numpy(), raw.inputs.images[inputs])
        np.testing.assert_array_equal(pairs.input_labels.numpy(), raw.inputs.labels[inputs])
        np.testing.assert_array_equal(pairs.targets.numpy(), raw.targets.images[targets])
        assert pairs.aligned == (task != "strokes")
        assert (pairs.input_kind, pairs.input_classes) == kinds
        assert manifest["splits"][split]["size"] == len(targets)
        assert manifest["input_splits"][split] == len(inputs)
    assert manifest["pairs"] == ("unaligned" if task == "strokes" else "aligned")
    assert manifest["input_shape"] == [1, 16, 16] == manifest["shape"]


def make_pairs(**changes) -> Pairs:
    images = torch.from_numpy(random_pixels(1, 64, 1, 4, 6))
    labels = torch.zeros(64, dtype=torch.int64)
    values = {"inputs": images, "targets": images, "labels": labels, "input_labels": labels}
    return Pairs(**(values | {"aligned": True} | changes))


def test_equal_generators_mirror_both_sides_together():
    pairs = make_pairs()
    indices = torch.arange(64)
    x = pairs.batch_inputs(indices, flip=make_rng(0, 3, "flip"))
    y = pairs.batch_targets(indices, flip=make_rng(0, 3, "flip"))
    assert torch.equal(x, y)
    plain = normalize(pairs.inputs)
    mirrored = (x == plain.flip(-1)).flatten(1).all(1)
    assert 16 < mirrored.sum() < 48
    assert ((x == plain).flatten(1).all(1) | mirrored).all()
    other = pairs.batch_targets(indices, flip=make_rng(0, 4, "flip"))
    assert not torch.equal(x, other)


def test_label_maps_are_one_hot():
    maps = torch.from_numpy(random_pixels(2, 64, 1, 4, 6) % 5)
    pairs = make_pairs(inputs=maps, input_kind="labels", input_classes=5)
    indices = torch.tensor([5, 2, 2])
    x = pairs.batch_inputs(indices)
    assert x.shape == (3, 5, 4, 6)
    assert x.dtype == torch.float32
    assert torch.equal(x.sum(1), torch.ones(3, 4, 6))
    assert torch.equal(x.argmax(1), maps[indices, 0].long())
    assert (pairs.input_channels, pairs.target_channels) == (5, 1)
    with pytest.raises(ValueError, match="no way back from images to label maps"):
        pairs.swapped()


def test_swapped_is_the_way_back():
    pairs = make_pairs(targets=torch.from_numpy(random_pixels(3, 64, 3, 4, 6)))
    back = pairs.swapped()
    assert (back.input_channels, back.target_channels) == (3, 1)
    assert torch.equal(back.inputs, pairs.targets)
    assert back.swapped() == pairs


def test_halves_of_pix2pix(tmp_path):
    pixels = random_pixels(4, 7, 8, 16, 3)
    for i in range(5):
        write(tmp_path / "train", f"{i}.png", pixels[i])
    for i in range(5, 7):
        write(tmp_path / "val", f"{i}.png", pixels[i])
    expected = pixels.transpose(0, 3, 1, 2)
    raw = read_source(PairedFolderSource(path=str(tmp_path)))
    np.testing.assert_array_equal(raw.inputs.images, expected[..., :8])
    np.testing.assert_array_equal(raw.targets.images, expected[..., 8:])
    back = read_source(PairedFolderSource(path=str(tmp_path), direction="BtoA"))
    np.testing.assert_array_equal(back.inputs.images, raw.targets.images)
    parts = split_pairs(raw, {"search": 1, "validation": 1, "report": 2}, seed=0)
    assert sorted(parts["report"][1]) == [5, 6]  # val alone
    assert all(np.array_equal(inputs, targets) for inputs, targets in parts.values())
    small = read_source(PairedFolderSource(path=str(tmp_path), size=4, channels=1))
    assert small.inputs.images.shape == small.targets.images.shape == (7, 1, 4, 4)
    write(tmp_path / "train", "odd.png", random_pixels(5, 8, 15, 3))
    with pytest.raises(DataError, match=r"odd\.png: 15 pixels wide; two halves need an even width"):
        read_source(PairedFolderSource(path=str(tmp_path)))


def test_two_sides_of_cyclegan(tmp_path):
    for side, count in (("A", 6), ("B", 9)):
        for i in range(count):
            write(tmp_path / f"train{side}", f"{i}.png", random_pixels(i, 8, 8, 3))
        for i in range(3):
            write(tmp_path / f"test{side}", f"{i}.png", random_pixels(50 + i, 8, 8, 3))
    raw = read_source(UnpairedFolderSource(path=str(tmp_path)))
    assert (len(raw.inputs.images), len(raw.targets.images)) == (9, 12)
    back = read_source(UnpairedFolderSource(path=str(tmp_path), direction="BtoA"))
    assert (len(back.inputs.images), len(back.targets.images)) == (12, 9)
    out = run_prepare(
        tmp_path,
        DataPrepareSettings(
            source=UnpairedFolderSource(path=str(tmp_path)), search=2, validation=2, report=3
        ),
    )
    train, report = load_pairs(out, "train"), load_pairs(out, "report")
    assert not train.aligned
    assert (len(train.inputs), len(train.targets)) == (2, 5)
    ours = {image.numpy().tobytes() for image in report.inputs}
    assert ours == {raw.inputs.images[i].tobytes() for i in (6, 7, 8)}  # testA alone
    write(tmp_path / "trainB", "x.png", random_pixels(1, 4, 8, 3))
    with pytest.raises(DataError, match=r"x\.png: 8x4 pixels, others 8x8 pixels; set source\.size"):
        read_source(UnpairedFolderSource(path=str(tmp_path)))


def test_an_empty_or_missing_side_is_one_line(tmp_path):
    write(tmp_path / "trainA", "0.png", random_pixels(0, 8, 8, 3))
    settings = DataPrepareSettings(source=UnpairedFolderSource(path=str(tmp_path)))
    with pytest.raises(StageError, match=r"trainB: no such folder$"):
        run_prepare(tmp_path, settings)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(DataError, match=r"trainB: empty; unpaired data needs images on both sides"):
        read_source(settings.source)


def test_label_maps_and_images_of_equal_names(tmp_path):
    for i in range(4):
        write(tmp_path / "train_label", f"{i}.png", np.full((8, 8), [0, 1, 2, 255][i]))
        write(tmp_path / "train_img", f"{i}.png", random_pixels(i, 8, 8, 3))
    raw = read_source(LabelFolderSource(path=str(tmp_path), classes=4))
    assert raw.inputs.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]  # unknown is the last
    assert raw.targets.images.shape == (4, 3, 8, 8)
    write(tmp_path / "train_img", "alone.png", random_pixels(9, 8, 8, 3))
    with pytest.raises(DataError, match="train_img: alone is in one of them only"):
        read_source(LabelFolderSource(path=str(tmp_path), classes=4))


def test_single_images_are_no_pairs(tmp_path):
    out = run_prepare(tmp_path, DataPrepareSettings())
    with pytest.raises(ValueError, match="a data set of single images; pairs are needed here"):
        load_pairs(out, "train")


def test_one_thing_cannot_be_on_both_sides(tmp_path):
    settings = DataPrepareSettings(
        source=DigitPairsSource(task="strokes"), search=1, validation=20, report=20
    )
    with pytest.raises(StageError, match="split search has images on one side only"):
        run_prepare(tmp_path, settings)
