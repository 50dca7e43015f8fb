"""Files that are never half written: write beside, fsync, rename; digests; small JSON helpers."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRATCH = ".saving-"  # folders of models that are being saved begin with this
# What a killed writer leaves: ours, that of safetensors (beside its target), scratch folders.
LEFTOVERS = (".*.tmp", ".tmp??????", f"{SCRATCH}*")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place.

    The file can be read by whom the umask lets, whatever the writer chose (safetensors: its owner
    alone). On an exception (a full disk, say) the temporary file is removed and `path` stays as it
    was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.touch()
    mode = temporary.stat().st_mode
    temporary.unlink()
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if temporary.stat().st_mode != mode:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in a folder (nobody else may be writing there)."""
    for pattern in LEFTOVERS:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def find_below(folder: Path, pattern: str) -> list[Path]:
    """Return what matches at any depth, sorted.

    Hidden folders (a model that is being saved) and those that vanish meanwhile are passed over.
    """
    # Path.rglob fails where a folder vanishes (Python 3.11).
    found = glob.glob(f"**/{pattern}", root_dir=folder, recursive=True)  # noqa: PTH207
    return sorted(folder / name for name in found)


def write_fault(folder: Path) -> str | None:
    """Return why no file can be written into a folder (made where it is missing), or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
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
