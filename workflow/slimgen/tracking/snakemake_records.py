"""Snakemake's own records of what it ran, read and restored file by file.

`.snakemake/metadata` holds one JSON per output: rule, params, inputs and their sha256. The file's
name is the url-safe base64 of the output's path, a name that would be too long being cut into
folders marked with `@` (Snakemake 9, record_format_version 6; a test compares with Snakemake).
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(".snakemake")
METADATA = HOME / "metadata"
RESTORED = "restored_from_provenance"  # no field of Snakemake's: its own next record lacks it


@cache
def longest_name(folder: Path) -> int:
    """Return how many bytes a file's name may have in a folder, as Snakemake asks."""
    return os.pathconf(folder, "PC_NAME_MAX") or 255


def record_path(output: str, metadata: Path = METADATA) -> Path:
    """Return where Snakemake keeps the record of an output; `metadata` must exist."""
    name = urlsafe_b64encode(output.encode()).decode()
    length = longest_name(metadata) - 1
    pieces = [name[at : at + length] for at in range(0, len(name), length)]
    return metadata.joinpath(*("@" + piece for piece in pieces[:-1]), pieces[-1])


def read_record(output: str, metadata: Path = METADATA) -> dict[str, Any] | None:
    """Return the record of an output, or None where there is none that can be read."""
    try:
        record = json.loads(record_path(output, metadata).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def restore_record(output: str, record: dict[str, Any], metadata: Path = METADATA) -> bool:
    """Give Snakemake a record that it lacks; return whether anything was written.

    One that Snakemake wrote itself is never touched. One that was restored from an older
    provenance (after a `git pull` it is out of date) is replaced.
    """
    path = record_path(output, metadata)
    text = json.dumps(record | {RESTORED: True})
    try:
        old = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        old = None
    if old == text or (old is not None and f'"{RESTORED}": true' not in old):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name[:200]}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True


def is_locked(home: Path = HOME) -> bool:
    """Return whether Snakemake holds its lock on this folder (or was killed while it did)."""
    return any(home.glob("locks/*.lock"))
