"""Files appear whole, readable as the umask says, and a killed writer's rest is found again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stopping import stopping_job

from slimgen.data.files import atomic_path, find_below, remove_leftovers, write_text
from slimgen.networks.tensor_file import save_tensors
from slimgen.stage_command import begin

LARGE = 20_000_000  # numbers: long enough to be killed in the middle


def save_for_long(path: Path) -> None:
    for _ in range(100):
        save_tensors(path, {"weight": torch.zeros(LARGE)})


def kill_a_writer(path: Path) -> set[Path]:
    """Kill a process that saves weights while it writes; return what it left beside them."""
    before = set(path.parent.iterdir())
    for _ in range(20):
        process = multiprocessing.get_context("fork").Process(target=save_for_long, args=(path,))
        process.start()
        end = time.monotonic() + 60
        while set(path.parent.iterdir()) <= before | {path} and time.monotonic() < end:
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if left := set(path.parent.iterdir()) - before - {path}:
            return left
    raise AssertionError("no writer was caught while it wrote")


def test_what_a_killed_writer_leaves_is_removed_and_nothing_else(tmp_path):
    """Whatever safetensors names its own temporary file."""
    write_text(tmp_path / "config.json", "whole")
    write_text(tmp_path / ".hidden", "a user's")
    kill_a_writer(tmp_path / "weights")
    (tmp_path / "weights").unlink(missing_ok=True)  # it may have been done once
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "config.json"]


@pytest.mark.parametrize("folder", ["out", "state"])
def test_a_stage_begins_without_what_its_killed_predecessor_left(tmp_path, folder):
    job = stopping_job(tmp_path, "stage")
    job.open_state()
    left = kill_a_writer(tmp_path / folder / "weights")
    assert begin(job)
    assert not any(path.exists() for path in left)


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


def test_what_is_being_written_has_another_name_and_no_folder(tmp_path):
    """Whoever looks for `**/*.json` meanwhile finds whole files and no folder that vanishes."""
    with atomic_path(tmp_path / "record.json") as temporary:
        temporary.write_text("half")
        assert not list(tmp_path.rglob("*.json"))
        assert not any(path.is_dir() for path in tmp_path.iterdir())


def come_and_go(folder: Path) -> None:
    while True:
        (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
        (folder / "a" / "b").rmdir()
        (folder / "a").rmdir()


def test_folders_that_vanish_and_hidden_ones_are_passed_over(tmp_path):
    for name in ("z/settings.json", "y/z/settings.json", "z/.saving-a/settings.json"):
        write_text(tmp_path / name, "{}")
    process = multiprocessing.get_context("fork").Process(target=come_and_go, args=(tmp_path,))
    process.start()
    try:
        for _ in range(2000):
            found = find_below(tmp_path, "settings.json")
            assert found == [tmp_path / "y/z/settings.json", tmp_path / "z/settings.json"]
    finally:
        process.kill()
        process.join()


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
