"""classifier.train: learns real digits, fits other shapes, resumes exactly, names bad input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import slimgen.systems.shared.classifier.train as stage
from slimgen.config.shared import ClassifierTrainSettings
from slimgen.data.dataset import load_split
from slimgen.data.files import digest, write_json
from slimgen.networks.classifier import Classifier, ClassifierShape, load_classifier
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.precision import Compute
from slimgen.training.seeding import batch_indices, make_rng


def write_data(folder, images, labels, num_classes):
    """Write the same images as train and validation split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        np.savez(folder / f"{split}.npz", images=images, labels=labels)
    write_json(folder / "manifest.json", {"num_classes": num_classes})
    return folder


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Forty 3x12x10 images; the class is the channel that is bright."""
    images = np.zeros((40, 3, 12, 10), dtype=np.uint8)
    labels = np.arange(40, dtype=np.int64) % 3
    for i, label in enumerate(labels):
        images[i, label] = 100 + i
    return write_data(tmp_path_factory.mktemp("squares"), images, labels, 3)


def settings(**changes):
    base = {"steps": 12, "batch_size": 8, "channels": [8, 8], "features": 6, "log_every": 4}
    return ClassifierTrainSettings.model_validate(base | changes)


def make_job(folder, seed=5):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage="classifier.train", out=folder / "out", state=folder / "state", seed=seed)


def test_real_digits_are_learnt_and_the_accuracy_logged(tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    data = tmp_path / "data"
    data.mkdir()
    for split, part in (("train", slice(0, 1200)), ("validation", slice(1200, None))):
        labels = digits.target[part].astype(np.int64)
        np.savez(data / f"{split}.npz", images=images[part], labels=labels)
    write_json(data / "manifest.json", {"num_classes": 10})
    job = make_job(tmp_path)
    run = settings(steps=120, batch_size=64, channels=[16, 32, 32], features=32)
    stage.train(run, job, data=data)
    lines = [json.loads(line) for line in (job.state / "log.jsonl").read_text().splitlines()]
    logged = lines[-1]["validation_accuracy"]
    measured = stage.accuracy(load_classifier(job.out), load_split(data, "validation"), "cpu")
    assert logged == pytest.approx(measured)
    assert measured > 0.85  # another writer's digits than those trained on; 0.1 is chance


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 12, 10), (3, 32, 32), (2, 33, 65)])
def test_any_size_and_number_of_channels(shape):
    network = Classifier(ClassifierShape(in_channels=shape[0], num_classes=5, features=16))
    x = torch.zeros(2, *shape)
    assert network.features(x).shape == (2, 16)
    assert network(x).shape == (2, 5)


def test_a_stopped_run_ends_with_the_same_bytes(squares, tmp_path, monkeypatch):
    whole, stopped = make_job(tmp_path / "whole"), make_job(tmp_path / "stopped")
    stage.train(settings(), whole, data=squares)
    calls, original = [], stage.augment

    def stopping(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 5:
            stopped.signal_name = "SIGTERM"
        return original(*arguments, **keywords)

    monkeypatch.setattr(stage, "augment", stopping)
    with pytest.raises(Stopped):
        stage.train(settings(), stopped, data=squares)
    stopped.signal_name = None
    stage.train(settings(), stopped, data=squares)
    assert len(calls) == 12  # the second start went on at step 5
    for name in ("config.json", "model.safetensors"):
        assert digest(whole.out / name) == digest(stopped.out / name)


def test_it_learns_the_train_split_alone_and_the_validation_split_only_watches(squares, tmp_path):
    """No report split is there to read; another validation split changes no weight."""
    other = tmp_path / "other"
    shutil.copytree(squares, other)
    images = np.full((7, 3, 12, 10), 99, dtype=np.uint8)
    np.savez(other / "validation.npz", images=images, labels=np.zeros(7, dtype=np.int64))
    jobs = [make_job(tmp_path / name) for name in ("a", "b")]
    for job, data in zip(jobs, (squares, other), strict=True):
        stage.train(settings(), job, data=data)
    first, second = (digest(job.out / "model.safetensors") for job in jobs)
    assert first == second


def test_the_first_step_is_the_cross_entropy_of_augmented_images(squares, tmp_path):
    job, run = make_job(tmp_path), settings(dropout=0.0, log_every=1)
    stage.train(run, job, data=squares)
    images = load_split(squares, "train")
    chosen = batch_indices(40, 8, 0, 5)
    x = images.images[chosen].float() / 127.5 - 1
    x = stage.augment(x, make_rng(5, 0, "update"), shift=0.1, rotate=10.0, scale=0.1)
    with torch.no_grad():
        p = stage.make_classifier(run, images, 5)(x).softmax(1)
    loss = -p[torch.arange(8), images.labels[chosen]].log().mean()
    line = json.loads((job.state / "log.jsonl").read_text().splitlines()[0])
    assert line["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_the_averaged_weights_are_saved(squares, tmp_path):
    slow, fast = make_job(tmp_path / "slow"), make_job(tmp_path / "fast")
    stage.train(settings(ema={"decay": 1 - 1e-9, "warmup": False}), slow, data=squares)
    stage.train(settings(ema={"decay": 0.0}), fast, data=squares)
    start = stage.make_classifier(settings(), load_split(squares, "train"), 5).state_dict()
    kept, moved = (load_classifier(job.out).state_dict() for job in (slow, fast))
    assert all(torch.allclose(kept[name], start[name], atol=1e-6) for name in start)
    assert not any(torch.allclose(moved[name], start[name], atol=1e-5) for name in start)


def test_the_scale_of_fp16_survives_a_restart(squares, tmp_path, monkeypatch):
    """It doubles at every step here, so that a forgotten one would show."""
    made, job = [], make_job(tmp_path)

    def scaler(_compute):
        made.append(torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=1))
        return made[-1]

    def stopping(*arguments, **keywords):
        job.signal_name = "SIGTERM"
        return original(*arguments, **keywords)

    monkeypatch.setattr(Compute, "scaler", scaler)
    original, half = stage.augment, settings(runtime={"precision": "fp16"})
    with monkeypatch.context() as patch:
        patch.setattr(stage, "augment", stopping)
        with pytest.raises(Stopped):
            stage.train(half, job, data=squares)
    job.signal_name = None
    stage.train(half, job, data=squares)
    assert [scaler.get_scale() for scaler in made] == [2.0, 2.0**12]


def test_seeds_differ_and_repeat(squares, tmp_path):
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        job = make_job(tmp_path / name, seed)
        stage.train(settings(steps=3), job, data=squares)
        found.append(digest(job.out / "model.safetensors"))
    assert found[0] == found[1] != found[2]


def test_init_from_starts_with_the_other_weights(squares, tmp_path):
    first, second = make_job(tmp_path / "a"), make_job(tmp_path / "b", seed=6)
    stage.train(settings(steps=3), first, data=squares)
    images = load_split(squares, "train")
    network = stage.make_classifier(settings(init_from=str(first.out)), images, seed=6)
    for ours, theirs in zip(
        network.parameters(), load_classifier(first.out).parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    with pytest.raises(StageError, match=r"classifier\.train: "):
        stage.train(settings(features=7, init_from=str(first.out)), second, data=squares)


def test_images_without_labels_are_refused(tmp_path):
    images = np.zeros((4, 1, 8, 8), dtype=np.uint8)
    data = write_data(tmp_path / "data", images, np.full(4, -1, dtype=np.int64), 0)
    with pytest.raises(StageError, match="no labels"):
        stage.train(settings(), make_job(tmp_path), data=data)


def test_no_augmentation_is_the_identity_and_a_whole_pixel_shift_moves_the_image():
    x = torch.randn(3, 2, 8, 8, generator=make_rng(0, 0, "x"))
    same = stage.augment(x, make_rng(0, 0, "a"), shift=0, rotate=0, scale=0)
    torch.testing.assert_close(same, x, rtol=0, atol=1e-5)
    moved = stage.augment(x, make_rng(0, 0, "a"), shift=0.1, rotate=10, scale=0.1)
    again = stage.augment(x, make_rng(0, 0, "a"), shift=0.1, rotate=10, scale=0.1)
    assert torch.equal(moved, again)
    assert (moved - x).abs().amax((1, 2, 3)).min() > 0.01
    assert moved.min() >= x.min() - 1e-6
    assert moved.max() <= x.max() + 1e-6


@pytest.fixture
def splits(tmp_path):
    """Sixty 1x8x8 images in five classes: 40 train, 10 search, 10 validation; no report split."""
    folder, rng = tmp_path / "splits", np.random.default_rng(0)
    folder.mkdir()
    for split, count in {"train": 40, "search": 10, "validation": 10}.items():
        images = rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=np.arange(count) % 5)
    write_json(folder / "manifest.json", {"num_classes": 5})
    return folder


def blacken(file, indices):
    """Make some images of a split black."""
    with np.load(file) as arrays:
        images, labels = arrays["images"].copy(), arrays["labels"]
    images[indices] = 0
    np.savez(file, images=images, labels=labels)


def trained(data, folder, *, images, seed):
    job = make_job(folder, seed)
    run = settings(steps=5, images=images)  # 5 batches of 8: every image at least once
    stage.train(run, job, data=data)
    return digest(job.out / "model.safetensors")


def test_half_is_every_second_image_of_each_class():
    labels = torch.tensor([0, 0, 1, 0, 1, 2, 0, 1, 1, 0])
    assert stage.half(labels).tolist() == [0, 2, 3, 5, 7, 9]
    many = torch.randint(10, (999,), generator=make_rng(0, 0, "x"))
    counts, kept = many.bincount(), many[stage.half(many)].bincount()
    assert torch.equal(kept, (counts + 1) // 2)


def test_what_rewards_sees_the_search_split_and_half_of_train_alone(splits, tmp_path):
    """Images that it must not see are made black one part after another: no bit changes."""
    first = trained(splits, tmp_path / "a", images="reward", seed=1)
    seen = stage.half(load_split(splits, "train").labels).tolist()
    unseen = sorted(set(range(40)) - set(seen))
    assert len(seen) == len(unseen) == 20
    blacken(splits / "train.npz", unseen)
    blacken(splits / "validation.npz", list(range(10)))  # it watches, and changes no weight
    assert not (splits / "report.npz").exists()
    assert trained(splits, tmp_path / "b", images="reward", seed=1) == first
    blacken(splits / "search.npz", [3])
    second = trained(splits, tmp_path / "c", images="reward", seed=1)
    assert second != first
    blacken(splits / "train.npz", seen[:1])
    assert trained(splits, tmp_path / "d", images="reward", seed=1) != second


def test_what_reports_sees_all_of_train_and_no_search_split(splits, tmp_path):
    first = trained(splits, tmp_path / "a", images="train", seed=0)
    (splits / "search.npz").unlink()
    assert trained(splits, tmp_path / "b", images="train", seed=0) == first
    blacken(splits / "train.npz", [1])
    assert trained(splits, tmp_path / "c", images="train", seed=0) != first


def test_the_two_classifiers_differ_in_every_layer(splits, tmp_path):
    found = []
    for name, images, seed in (("report", "train", 0), ("reward", "reward", 1)):
        trained(splits, tmp_path / name, images=images, seed=seed)
        found.append(load_classifier(tmp_path / name / "out").state_dict())
    for key, value in found[0].items():
        assert not torch.equal(value, found[1][key]), key
