"""Tiny images, a tiny reward classifier, and jobs that stop when the test says so."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

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


@dataclass
class StoppingJob(Job):
    """A job that is asked to stop after some steps."""

    left: int = 10**9

    def stop_reason(self) -> str | None:
        self.left -= 1
        return "the test says so" if self.left <= 0 else None


@pytest.fixture
def make_job(tmp_path):
    def make(name: str = "run", *, stop_after: int | None = None, seed: int = 0) -> Job:
        out, state = tmp_path / name / "out", tmp_path / name / "state"
        out.mkdir(parents=True, exist_ok=True)
        state.mkdir(exist_ok=True)
        left = 10**9 if stop_after is None else stop_after
        return StoppingJob(stage="autogan.search", out=out, state=state, seed=seed, left=left)

    return make


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.fixture
def same():
    return equal
