"""One thread per test process, and the same random numbers in every order of the tests."""

import os
import random
import sys
import zlib

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: the tests that run on SLURM wait more than they compute."""
    return (os.cpu_count() or 1) + 1


def seed_everything(name: str) -> None:
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """A shared fixture is the same whichever test asks for it first."""
    seed_everything(fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    seed_everything(f"{item.path.name}::{item.name}")
