"""Faults of the machine, not of the program: told as one line that says what to change.

This module imports no torch: errors of memory are known by their class's name and their text.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimgen.data.files import write_fault
from slimgen.training.job import Job, PassingError, StageError

# What the system, torch and safetensors say of a full disk, a spent quota, a limit of file sizes.
DISK = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
MEMORY = re.compile(r"out of memory|_ALLOC_FAILED|can't allocate memory|Unable to allocate", re.I)


def disk_fault(error: BaseException) -> str | None:
    """Return why nothing more can be written, or None for an error of another kind."""
    text = str(error)
    for number, says in DISK.items():
        if says in text or (isinstance(error, OSError) and error.errno == number):
            return says[0].lower() + says[1:]
    return None


def memory_fault(error: BaseException) -> str | None:
    """Return what asked for too much memory of GPU or CPU, or None for an error of another kind."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _first_sentence(error) or "out of memory"
    if isinstance(error, RuntimeError) and MEMORY.search(str(error)):
        return _first_sentence(error)
    return None


def _first_sentence(error: BaseException) -> str:
    """Return the reason without torch's head of where it was raised and its hints."""
    text = re.sub(r"^\[enforce fail at \S+ [^\]]*\]\s*\.?\s*", "", " ".join(str(error).split()))
    first, *rest = re.split(r"(?<=[A-Za-z])\. ", text)
    asked = [sentence for sentence in rest if sentence.startswith("Tried to allocate")]
    return "; ".join([first, *asked[:1]]).rstrip(".")


def stage_fault(error: BaseException, job: Job, batch_size: int | None) -> str | None:
    """Return the line for a stage that ended with `error`, or None where its traceback says more.

    Neither fault is written into the state folder: the next attempt may find room.
    """
    if disk := disk_fault(error):
        return f"{job.stage}: {disk}; what was saved is whole: make room and start again"
    if memory := memory_fault(error):
        size = "" if batch_size is None else f" with batch_size = {batch_size}"
        larger = "machine" if job.device == "cpu" else "GPU"
        smaller = (
            "take smaller or fewer images"
            if batch_size is None
            else f"set {job.stage}.batch_size lower (the stage then begins anew)"
        )
        return (
            f"{job.stage}: out of memory on {job.device}{size} ({memory}); {smaller}, end what "
            f"else uses the memory, or take a larger {larger}"
        )
    return None


@contextmanager
def faults_in_one_line(job: Job, batch_size: int | None) -> Iterator[None]:
    """Raise PassingError with one line in place of an error of disk or memory.

    The reason of any other StageError is noted for the next attempts.
    """
    try:
        yield
    except StageError as error:
        job.note_failure(error)
        raise
    except Exception as error:  # torch and safetensors raise kinds of their own
        fault = stage_fault(error, job, batch_size)
        if fault is None:
            raise
        raise PassingError(fault) from None


def check_writable(*folders: Path) -> None:
    """Raise StageError naming the first folder in which nothing can be written."""
    for folder in folders:
        fault = write_fault(folder)
        if fault is not None:
            raise StageError(f"{folder}: nothing can be written there ({fault})")
