"""Tiny images, a tiny reward classifier, and jobs that stop when the test says so."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stopping import stopping_job

from slimgen.networks.classifier import Classifier, ClassifierShape, save_classifier
from slimgen.training.job import Job


def write_data(folder: Path, *, size: int, channels: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, count in {"train": 40, "validation": 20}.items():
        images = generator.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=np.arange(count) % 4)
    (folder / "manifest.json").write_text(json.dumps({"num_classes": 4}))
    return folder


def write_classifier(folder: Path, channels: int) -> Path:
    folder.mkdir()
    torch.manual_seed(1)
    network = Classifier(ClassifierShape(channels, 4, channels=(8,), features=4))
    with torch.no_grad():
        network.head.weight.mul_(20)  # an untrained head would score every image alike
    save_classifier(folder, network)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "grey8", size=8, channels=1)


@pytest.fixture(scope="session")
def data32(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "colour32", size=32, channels=3)


@pytest.fixture(scope="session")
def data16(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "grey16", size=16, channels=1)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("classifier") / "grey", 1)


@pytest.fixture(scope="session")
def classifier3(tmp_path_factory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("classifier") / "colour", 3)


@pytest.fixture
def make_job(tmp_path):
    def make(name: str = "run", **given) -> Job:
        return stopping_job(tmp_path / name, "autogan.search", **given)

    return make
