"""Tiny data sets of pairs, and jobs that stop when the test says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stopping import stopping_job

from slimgen.training.job import Job


def write_pairs(
    folder: Path, *, size: int = 16, aligned: bool = True, classes: int = 0, seed: int = 0
) -> Path:
    """Write random grey pairs, 12 in train and 6 in the others; label maps if `classes`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for split, count in {"train": 12, "search": 6, "validation": 6, "report": 6}.items():
        shape = (count, 1, size, size)
        np.savez(
            folder / f"{split}.npz",
            images=rng.integers(0, 256, shape, dtype=np.uint8),
            labels=np.arange(count) % 3,
            inputs=rng.integers(0, classes or 256, shape, dtype=np.uint8),
            input_labels=np.arange(count) % 3,
        )
    manifest = {
        "num_classes": 3,
        "pairs": "aligned" if aligned else "unaligned",
        "input_kind": "labels" if classes else "image",
        "input_classes": classes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def pairs_of_size(tmp_path):
    return lambda size: write_pairs(tmp_path / f"pairs{size}", size=size)


@pytest.fixture(scope="session")
def edges(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "edges")


@pytest.fixture(scope="session")
def strokes(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "strokes", aligned=False)


@pytest.fixture(scope="session")
def label_maps(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "labels", classes=4)


@pytest.fixture
def make_job(tmp_path):
    def make(name: str = "run", **given) -> Job:
        return stopping_job(tmp_path / name, "gan_compression.teacher", **given)

    return make
