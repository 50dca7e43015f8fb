"""Tar archives read in their order, without unpacking them."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from slimgen.data.errors import DataError


@contextmanager
def whole_archive(path: Path) -> Iterator[None]:
    """Turn what reading a damaged archive raises into a DataError that names it."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: not a whole tar archive ({error})") from None


def open_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each file of a tar archive; enter `whole_archive` around it.

    Raises DataError for a member that has no place in a data set: a link, a device, an absolute
    name or one with `..`.
    """
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise DataError(f"{path}: member {member.name!r} lies outside of the archive")
            if member.isdir():
                continue
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                raise DataError(f"{path}: member {member.name!r} is not a regular file")
            yield member.name, file


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file of a tar archive.

    Raises DataError for a damaged archive and as `open_members` does.
    """
    with whole_archive(path):
        for name, file in open_members(path):
            yield name, file.read()
