"""A real SLURM where its packages are; elsewhere a skip with the reason.

SLIMGEN_REQUIRE_SLURM=1 (as in .ci/run) makes of each such skip a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import copy_checkout
from one_node import Cluster, one_node, run_script


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A SLURM of one node for the tests of a module; with slurmdbd where that says ACCOUNTING."""
    folder = tmp_path_factory.mktemp("slurm")
    options = ("accounting",) if getattr(request.module, "ACCOUNTING", False) else ()
    checked = run_script("check", folder, *options)
    if checked.returncode != 0:
        reason = f"no SLURM: {(checked.stdout + checked.stderr).strip()}"
        if os.environ.get("SLIMGEN_REQUIRE_SLURM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with one_node(folder, *options):
        yield


@pytest.fixture(scope="module")
def cluster(
    node: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A checkout, in a path with a space, whose config file is named by the test module."""
    checkout = copy_checkout(tmp_path_factory.mktemp("slurm") / "a checkout", stand_in=False)
    config = Path(__file__).with_name(request.module.CONFIG)
    (checkout.path / config.name).write_text(config.read_text())
    cluster = Cluster(checkout, config.name)
    try:
        yield cluster
    finally:
        cluster.kill_controllers()
