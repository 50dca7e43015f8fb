"""Tests that share a fixture run in one process; under pytest 9.2 pytest-xdist spread them."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("workflow")


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process")
def test_tests_of_a_group_share_a_process(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@workflow")
