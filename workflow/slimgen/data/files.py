"""Files that are never half written: write beside, fsync, rename; digests; small JSON helpers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRATCH = ".saving-"  # what is being written has a name that begins with this


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path in a scratch folder beside `path`; on success fsync it and rename it into place.

    The scratch folder also holds what the writing library puts beside its file (safetensors writes
    `.tmpXXXXXX` first), so that a killed writer leaves nothing else. The file can be read by whom
    the umask lets, whatever the library chose (safetensors: the owner alone). On an exception (a
    full disk, say) the folder is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=SCRATCH, ignore_cleanup_errors=True
    ) as scratch:
        temporary = Path(scratch, path.name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(_usual_mode(Path(scratch)))
        temporary.replace(path)


def _usual_mode(folder: Path) -> int:
    """Return the permissions of a file that is simply opened for writing."""
    probe = folder / ".mode"
    probe.touch()
    return stat.S_IMODE(probe.stat().st_mode)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in a folder (nobody else may be writing there)."""
    for path in folder.glob(f"{SCRATCH}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_fault(folder: Path) -> str | None:
    """Return why no file can be written into a folder (made where it is missing), or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=SCRATCH):
            return None
    except OSError as error:
        return error.strerror or str(error)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given, with a final newline."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises ValueError naming the file where it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
