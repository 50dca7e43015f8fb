"""Copies of the checkout, in a path with a space: one fresh, one in which every job ran."""

from __future__ import annotations

import pytest
from checkout import SMOKE, Checkout, copy_checkout


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which nothing ran."""
    return copy_checkout(tmp_path_factory.mktemp("fresh") / "a checkout")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which every job of the smoke config ran."""
    checkout = copy_checkout(tmp_path_factory.mktemp("finished") / "a checkout")
    checkout.snakemake("all", "--cores", "2", "--configfile", SMOKE)
    return checkout
