"""DVC's pointers: which outputs DVC stores, what a `.dvc` file names, where its bytes lie."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from slimgen.training.job import StageError

REMOTE = re.compile(r"'remote \"(.+)\"'")
MD5 = re.compile("[0-9a-f]{32}")
STORED = frozenset({".safetensors", ".npz", ".npy", ".onnx"})  # everything else is git's


@dataclass(frozen=True)
class Pointer:
    """A `.dvc` file of one stored file."""

    path: Path
    md5: str
    size: int

    @property
    def file(self) -> Path:
        """The file that it stands for."""
        return self.path.with_suffix("")

    def stored_in(self, folder: Path) -> Path:
        """Return where a DVC cache or remote keeps these bytes."""
        return folder / "files" / "md5" / self.md5[:2] / self.md5[2:]


def is_stored(path: str) -> bool:
    """Return whether an output is DVC's and not git's: weights and arrays are."""
    return Path(path).suffix in STORED


def pointer_path(file: Path) -> Path:
    """Return the `.dvc` file beside a file."""
    return file.with_name(file.name + ".dvc")


def read_pointer(path: Path) -> Pointer:
    """Read a `.dvc` file.

    Raises StageError naming it where it is none.
    """
    try:
        out = yaml.safe_load(path.read_text(encoding="utf-8"))["outs"][0]
        if not MD5.fullmatch(out["md5"]):
            raise ValueError(out["md5"])
        return Pointer(path, out["md5"], int(out["size"]))
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        raise StageError(
            f"{path}: not a DVC pointer; `git checkout -- {path}` brings it back"
        ) from None


def dvc(*words: str) -> str:
    """Run DVC; return what it printed.

    Raises StageError with the first two lines of its error where it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise StageError(f"dvc {words[0]}: {' '.join(said[:2])}")
    return done.stdout


def cache_folder() -> Path:
    """Return the folder of DVC's cache, relative where it lies in the repository as usual."""
    folder, here = Path(dvc("cache", "dir").strip()), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def read_remotes(home: Path = Path(".dvc")) -> tuple[dict[str, str], str | None]:
    """Return the url of every remote as configured, and the name of the default one, or None."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read([home / "config", home / "config.local"])
    urls = {}
    for section in parser.sections():
        if match := REMOTE.fullmatch(section):
            urls[match[1]] = parser.get(section, "url", fallback="")
    return urls, parser.get("core", "remote", fallback=None)


def folder_inside(url: str, home: Path = Path(".dvc")) -> Path | None:
    """Return the folder of a remote that lies inside the repository, relative to it, or None."""
    root = home.resolve().parent
    folder = (home / url).resolve()
    return folder.relative_to(root) if "://" not in url and folder.is_relative_to(root) else None
