"""The script that starts SLURM: a foreign configuration is safe; a skip can be made a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from one_node import SCRIPT

SLURM_TEST = Path(__file__).with_name("test_through_slurm.py")


@pytest.mark.parametrize("option", [[], ["accounting"]])
@pytest.mark.parametrize("name", ["slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf"])
def test_a_foreign_configuration_is_never_touched(
    tmp_path: Path, name: str, option: list[str]
) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / name).write_text("ClusterName=production\n")
    environment = os.environ | {"SLIMGEN_TEST_ETC": str(etc)}
    for command, code in (("check", 1), ("start", 1), ("stop", 0)):
        done = subprocess.run(
            [str(SCRIPT), command, str(tmp_path / "state"), *option],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == code, done.stderr
        assert code == 0 or done.stdout == f"{etc / name} is not ours\n"
        assert [path.name for path in etc.iterdir()] == [name]
        assert (etc / name).read_text() == "ClusterName=production\n"


@pytest.mark.parametrize(("required", "outcome"), [("0", "4 skipped"), ("1", "4 errors")])
def test_without_the_packages_a_test_is_skipped_or_fails_if_required(
    tmp_path: Path, required: str, outcome: str
) -> None:
    """/usr/sbin, where Debian puts the daemons, is not in this PATH."""
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", str(SLURM_TEST)]
    done = subprocess.run(
        [*command, "-k", "impossible", f"--basetemp={tmp_path / 'inner'}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PATH": "/usr/bin:/bin", "SLIMGEN_REQUIRE_SLURM": required},
    )
    assert outcome in done.stdout, done.stdout
    assert "no SLURM: no munged here (Debian: slurm-wlm and munge)" in done.stdout
