"""Files appear whole, readable as the umask says, and a killed writer's rest is found again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stopping import stopping_job

from slimgen.data.files import atomic_path, remove_leftovers, write_text
from slimgen.stage_command import begin


def killed_in_the_middle(path: Path) -> None:
    """Write as safetensors does, first into a file with another name, and die."""
    with atomic_path(path) as temporary:
        temporary.with_name(".tmpAb3dEf").write_text("half of the weights")
        os.kill(os.getpid(), signal.SIGKILL)


def kill_a_writer(path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=killed_in_the_middle, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_writer_leaves_is_removed_and_nothing_else(tmp_path):
    write_text(tmp_path / "weights", "whole")
    write_text(tmp_path / ".hidden", "a user's")
    kill_a_writer(tmp_path / "weights")
    (tmp_path / ".saving-probe").touch()  # where a file system has no nameless files
    assert len(list(tmp_path.iterdir())) == 4
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "weights"]
    assert (tmp_path / "weights").read_text() == "whole"


@pytest.mark.parametrize("folder", ["out", "state"])
def test_a_stage_begins_without_what_its_killed_predecessor_left(tmp_path, folder):
    job = stopping_job(tmp_path, "stage")
    job.open_state()
    kill_a_writer(tmp_path / folder / "weights")
    assert any(path.is_dir() for path in (tmp_path / folder).iterdir())
    assert begin(job)
    assert not any(path.is_dir() for path in (tmp_path / folder).iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_can_be_read_by_whom_the_umask_lets(tmp_path, umask, mode):
    """Weights on a cluster belong to the group, though safetensors gives them to their owner."""
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "model.safetensors") as temporary:
            save_file({"weight": torch.ones(3)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def fail_in_the_middle(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")


def test_a_writer_that_fails_leaves_the_former_file(tmp_path):
    write_text(tmp_path / "weights", "whole")
    with pytest.raises(OSError, match="disk"):
        fail_in_the_middle(tmp_path / "weights")
    assert (tmp_path / "weights").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "weights"]
