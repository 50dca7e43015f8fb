"""Full disks, damaged checkpoints, losses that are no number, too little memory, closed folders."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stage_runs import FORK, Place, outputs
from stopping import same
from test_kill_and_resume import begin, starts

from slimgen.data.files import digest
from slimgen.training.checkpoint import LAST, PREVIOUS, load_checkpoint, save_checkpoint
from slimgen.training.faults import disk_fault, memory_fault

pytestmark = pytest.mark.xdist_group("reliability")

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # of Linux


def last_line(said: str) -> str:
    return said.strip().splitlines()[-1]


# Full disks


def mount_small_disk(folder: Path, size: str) -> None:
    """Mount a disk of its own for this process and its children; OSError where that is not allowed.

    It vanishes with them. Who is not root needs a user namespace for it.
    """
    folder.mkdir(parents=True)
    flags = CLONE_NEWNS if os.geteuid() == 0 else CLONE_NEWNS | CLONE_NEWUSER
    private, recursive = 1 << 18, 1 << 14
    if (
        LIBC.unshare(flags)
        or LIBC.mount(b"none", b"/", None, private | recursive, None)
        or LIBC.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())
    ):
        raise OSError(ctypes.get_errno(), "no disk of its own")


def runs_in_fork(job: Callable[..., None], *arguments: object) -> int:
    process = FORK.Process(target=job, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def may_mount(folder: Path) -> bool:
    if sys.platform != "linux":
        return False
    return runs_in_fork(mount_small_disk, folder, "1m") == 0


def fill(folder: Path) -> Path:
    """Write until the disk is full."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
    return ballast


def full_at_a_checkpoint(place: Place, expected: dict[str, object]) -> None:
    mount_small_disk(place.folder / "runs", "8m")
    process = place.start("teacher")
    place.wait_for_state(process, "teacher")
    ballast = fill(place.folder / "runs")
    process.join()
    said = place.log("teacher").read_text()
    assert process.exitcode == 1, said
    assert last_line(said) == (
        "slimgen: teacher.train: no space left on device; what was saved is whole: make room and "
        "start again"
    )
    assert "Traceback" not in said
    found = load_checkpoint(place.state("teacher"))
    assert found is not None
    ballast.unlink()
    place.end("teacher")
    assert starts(place, "teacher") == [0, found[0]]
    assert outputs(place.out("teacher")) == expected


def full_at_the_outputs(place: Place, expected: dict[str, object]) -> None:
    mount_small_disk(place.folder / "results", "8m")
    place.out("teacher").mkdir()
    ballast = fill(place.folder / "results")
    said = place.end("teacher", code=1)
    assert "no space left on device" in last_line(said)
    ballast.unlink()
    place.end("teacher")
    assert starts(place, "teacher")[1] > 0  # the training was not lost
    assert outputs(place.out("teacher")) == expected


@pytest.mark.parametrize("scene", [full_at_a_checkpoint, full_at_the_outputs])
def test_a_full_disk_is_one_line_and_costs_no_work(undisturbed, place, tmp_path, scene, capfd):
    if not may_mount(tmp_path / "try"):
        pytest.skip("this process may mount no disk of its own (the next test limits file sizes)")
    expected = outputs(undisturbed[0].out("teacher"))
    assert runs_in_fork(scene, place, expected) == 0, capfd.readouterr().err


def test_a_file_size_limit_at_a_save_is_one_line_and_leaves_the_checkpoint(undisturbed, place):
    begin(place, "teacher")
    last = place.state("teacher") / LAST
    size, before = last.stat().st_size, digest(last)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))

    said = place.end("teacher", code=1, before=limit)
    assert last_line(said).startswith("slimgen: teacher.train: file too large; what was saved is")
    assert digest(last) == before
    place.end("teacher")
    assert outputs(place.out("teacher")) == outputs(undisturbed[0].out("teacher"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "no space left on device"),
        (OSError(122, "Disk quota exceeded"), "disk quota exceeded"),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), "disk quota exceeded"),
        (OSError(13, "Permission denied"), None),
        (RuntimeError("shapes differ"), None),
    ],
    ids=["full", "quota", "quota in Rust", "permission", "program"],
)
def test_what_counts_as_a_full_disk(error, says):
    assert disk_fault(error) == says


# Damaged checkpoints


def saved(folder: Path) -> dict[int, dict[str, object]]:
    """Write two checkpoints; return step -> state."""
    torch.manual_seed(0)
    states = {}
    for step in (17, 18):
        network = {"weight": torch.randn(4, 3), "steps": torch.tensor(step), "half": torch.ones(5)}
        states[step] = {"network": network, "values": {"p": 0.1 * step, "window": [1.0, step]}}
        save_checkpoint(folder, step, states[step])
    return states


def test_no_flipped_bit_and_no_cut_is_ever_resumed_from(tmp_path, capfd):
    states = saved(tmp_path)
    whole, previous = (tmp_path / LAST).read_bytes(), (tmp_path / PREVIOUS).read_bytes()
    rng = random.Random(0)
    head = 8 + int.from_bytes(whole[:8], "little")
    damaged = [whole[:length] for length in (0, 1, 7, 8, head - 1, head, len(whole) - 1)]
    for position in [*range(8), *rng.sample(range(8, head), 500), *range(head, len(whole))]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    refused = 0
    for content in damaged:
        (tmp_path / LAST).write_bytes(content)
        (tmp_path / PREVIOUS).write_bytes(previous)
        found = load_checkpoint(tmp_path)
        assert found is not None
        step, state = found
        assert same(state, states[step])
        refused += step == 17
        # What was refused is gone: the next save keeps the good one.
        assert (tmp_path / LAST).exists() == (step == 18)
    assert refused > 0.98 * len(damaged)  # blanks and the like mean nothing
    assert refused == capfd.readouterr().err.count("is damaged and not used")


@pytest.mark.parametrize("both", [False, True], ids=["last", "both"])
def test_a_run_with_damaged_checkpoints_ends_bit_identical(undisturbed, place, both):
    def there() -> bool:
        return all((place.state("act") / name).exists() for name in (LAST, PREVIOUS))

    while not there():
        process = place.start("act")
        while process.is_alive() and not there():
            process.join(0.002)
        process.kill()
        process.join()
    place.log("act").unlink()
    for name in (LAST, PREVIOUS) if both else (LAST,):
        path = place.state("act") / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
    said = place.end("act")
    assert f"checkpoint {place.state('act') / LAST} is damaged and not used" in said
    assert ("no undamaged checkpoint is left: beginning at step 0" in said) == both
    assert (starts(place, "act") == [0]) == both
    assert outputs(place.out("act")) == outputs(undisturbed[0].out("act"))


# Losses that are no number


@pytest.mark.parametrize("key", ["teacher", "act"])
def test_a_loss_that_is_no_number_ends_the_run_and_each_retry_at_once(place, key):
    wild = {"optimizer": {"name": "adam", "lr": 1e30, "clip_norm": None, "warmup": 0}}
    said = place.end(key, code=1, **wild)
    reason = last_line(said)
    assert re.search(r"loss\w* is (nan|inf) by step", reason)
    place.log(key).unlink()
    retry = place.end(key, code=1, **wild)
    assert retry.strip() == (
        f"{reason} (an earlier attempt of this run; delete {place.state(key)} to try again)"
    )


# Memory


def test_cuda_out_of_memory_names_batch_size_and_what_to_change(place):
    def no_memory() -> None:
        from slimgen.systems.shared.teacher import train

        def raise_it(*_: object) -> torch.Tensor:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                "7.79 GiB of which 1.12 GiB is free. Of the allocated memory 5 GiB is allocated by "
                "PyTorch. If reserved but unallocated memory is large try setting X=Y."
            )

        train.denoising_loss = raise_it  # type: ignore[assignment]

    said = place.end("teacher", code=1, before=no_memory)
    assert last_line(said) == (
        "slimgen: teacher.train: out of memory on cpu with batch_size = 16 (CUDA out of memory; "
        "Tried to allocate 2.00 GiB); set teacher.train.batch_size lower (the stage then begins "
        "anew), end what else uses the memory, or take a larger machine"
    )
    assert "Traceback" not in said
    place.end("teacher")  # the same settings find more memory: the reason is not kept


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, reads /proc")
def test_real_lack_of_memory_is_one_line(place):
    def limit() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), resource.RLIM_INFINITY))

    said = place.end("teacher", code=1, before=limit, batch_size=20_000_000)
    line = last_line(said)
    assert line.startswith(
        "slimgen: teacher.train: out of memory on cpu with batch_size = 20000000"
    )
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (MemoryError("Unable to allocate 3 GiB for an array"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
    ids=["cuda", "cublas", "mps", "numpy", "shapes", "value"],
)
def test_what_counts_as_lack_of_memory(error, known):
    said = memory_fault(error)
    assert (said is not None) == known
    assert known is False or (said and "\n" not in said)


# Closed folders


def test_a_read_only_output_folder_is_told_before_the_work(place):
    closed = place.out("data")
    closed.mkdir(parents=True)
    closed.chmod(0o555)

    def keep_to_permissions() -> None:
        if os.geteuid() == 0 and LIBC.prctl(24, 1, 0, 0, 0):  # drops CAP_DAC_OVERRIDE at exec
            raise OSError("the capability cannot be dropped")
        os.dup2(sys.stderr.fileno(), 2)
        os.execv(sys.executable, [sys.executable, "-m", "slimgen", *place.arguments("data")])

    said = place.end("data", code=1, before=keep_to_permissions)
    assert last_line(said) == f"slimgen: {closed}: nothing can be written there (Permission denied)"
