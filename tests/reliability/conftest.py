"""The undisturbed run of every stage, once, and how long each took."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from stage_runs import STAGES, Place, preload


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, float]]:
    """Every stage, finished without a fault, and its seconds."""
    preload()
    folder = tmp_path_factory.mktemp("chain")
    place, seconds = Place(folder / "results", folder), {}
    for key in STAGES:
        began = time.monotonic()
        place.end(key)
        seconds[key] = time.monotonic() - began
    return place, seconds


@pytest.fixture
def place(undisturbed: tuple[Place, dict[str, float]], tmp_path: Path) -> Place:
    """A fresh place whose inputs are the undisturbed stages."""
    return Place(undisturbed[0].inputs, tmp_path)
