"""Before a run's first job: can its folders be written, and is it under way already?

Snakemake's own lock is a list of files in `.snakemake/locks`. A killed Snakemake leaves it there,
and the end of any run removes the lists of all runs of the folder. This lock is the kernel's: only
its own run holds it, and it ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from slimgen.data.files import write_fault

FOLDERS = ("results", "runs", "logs")
HELD: list[TextIO] = []  # open as long as the process lives; jobs do not inherit it


def lock_file(run: str) -> Path:
    """Return the file that the Snakemake of a run holds locked."""
    return Path("logs", run, "lock")


def is_locked(path: Path) -> bool:
    """Tell whether a process holds a file locked."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def take_run(run: str) -> str | None:
    """Lock a run for the life of this process; return why its jobs must not start, or None."""
    for folder in (Path(name, run) for name in FOLDERS):
        fault = write_fault(folder)
        if fault is not None:
            return f"{folder}: nothing can be written there ({fault}); no job was started"
    file = lock_file(run).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return f"run {run} is under way in this folder (`make status`); no job was started"
    HELD.append(file)
    return None
