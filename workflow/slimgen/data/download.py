"""Fetch a file once: mirror first, then its official address; checked, resumed, never half there.

A mirror is a folder (read in place, not copied) or a base URL, with the files directly in it or in
a sub-folder of the data set's name. What comes over the network goes into the cache folder: first
into `.NAME.part`, from which a broken transfer goes on by HTTP range (in the same start or the
next), and under its own name only when the checksum fits.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3.exceptions

from slimgen.data.errors import DataError, FetchError
from slimgen.data.files import digest
from slimgen.data.progress import Report, silent

MIRROR = "SLIMGEN_MIRROR"
CACHE = "SLIMGEN_CACHE"
CHUNK = 1 << 16
TIMEOUT = (20, 60)  # seconds to connect, seconds without a byte
MAX_REDIRECTS = 5
MAX_FAILURES = 4  # in a row without a new byte
WAIT = 0.2  # seconds between two looks at another download's lock
PAUSE = 1.0  # seconds before the second try, doubled with each

NETWORK_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


@dataclass(frozen=True)
class RemoteFile:
    """A public file: `checksum` is `sha256:...` or `md5:...`; no `address` means mirror only."""

    name: str
    checksum: str
    address: str | None = None


class PlaceError(Exception):
    """One place cannot give the file; the message says why, and the next place is asked."""


class RestartError(Exception):
    """What the `.part` file holds cannot be continued."""


def cache_folder() -> Path:
    """Return where downloads are kept: $SLIMGEN_CACHE, or `slimgen` in the user's cache folder."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "slimgen"


def fits(path: Path, checksum: str) -> bool:
    """Tell whether a file has the checksum `algorithm:hex`."""
    algorithm, _, expected = checksum.partition(":")
    return digest(path, algorithm) == expected


def mirror_places(mirror: str, folder: str, name: str) -> list[Path | str]:
    """Return where a mirror may hold a file: paths of a folder, or addresses.

    Raises DataError where the mirror is neither an existing folder nor a http(s) or file URL.
    """
    scheme = urllib.parse.urlsplit(mirror).scheme if "://" in mirror else ""
    if scheme in ("http", "https"):
        base = mirror.rstrip("/")
        return [f"{base}/{folder}/{name}", f"{base}/{name}"]
    if scheme not in ("", "file"):
        raise DataError(f"mirror {mirror}: use a folder or a http, https or file address")
    local = urllib.request.url2pathname(urllib.parse.urlsplit(mirror).path) if scheme else mirror
    root = Path(local).expanduser()
    if not root.is_dir():
        raise DataError(f"mirror {mirror}: no such folder")
    return [root / folder / name, root / name]


@contextlib.contextmanager
def only_one(path: Path, report: Report) -> Iterator[None]:
    """Let one process at a time fetch `path`; the others wait and find it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(f"waiting for another download of {path.name}", 0, None)
                time.sleep(WAIT)
        yield


def explain(error: Exception) -> str:
    """Return a network error's innermost reason on one line."""
    reason: BaseException = error
    while isinstance(
        inner := getattr(reason, "reason", None) or (reason.args or (None,))[0], Exception
    ):
        reason = inner
    return f"{type(reason).__name__}: {' '.join(str(reason).split())}"


def transfer(url: str, part: Path, report: Report) -> bool:
    """Append to `part` what is missing of `url`; return True if all of it came in this transfer.

    Raises PlaceError for an answer that another try will not change, RestartError where the server
    cannot continue the part, and the NETWORK_ERRORS.
    """
    done = part.stat().st_size if part.exists() else 0
    # identity: a server that compresses a .gz again would change the bytes that the range counts.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        try:
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.TooManyRedirects:
            raise PlaceError(f"{url}: more than {MAX_REDIRECTS} redirects") from None
        except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
            raise PlaceError(f"{url}: {explain(error)}") from None
        with response:
            status = f"{response.status_code} {response.reason}"
            if response.status_code >= 500 or response.status_code == 429:
                raise requests.ConnectionError(f"the server answered {status}")
            if done and response.status_code == 416:
                raise RestartError
            if response.status_code not in (200, 206):
                raise PlaceError(f"{url}: the server answered {status}")
            if response.status_code == 200:
                done = 0  # the whole file, whatever was asked for
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                raise RestartError
            whole = done == 0
            length = response.headers.get("Content-Length", "")
            total = done + int(length) if length.isdecimal() else None
            with part.open("wb" if whole else "ab") as file:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    done += len(chunk)
                    report(part.name.removeprefix(".").removesuffix(".part"), done, total)
    return whole


def download(url: str, path: Path, checksum: str, report: Report = silent) -> None:
    """Fetch `url` into `path`, going on where a dropped connection or an earlier start stopped.

    Raises PlaceError with one line; `path` exists only with the right checksum.
    """
    part = path.with_name(f".{path.name}.part")
    longest = failures = 0
    while True:
        try:
            whole = transfer(url, part, report)
        except RestartError:
            whole = False
        except NETWORK_ERRORS as error:
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > longest else failures + 1
            longest = max(longest, size)
            if failures >= MAX_FAILURES:
                raise PlaceError(f"{url}: {explain(error)} after {size:,} bytes") from None
            time.sleep(PAUSE * 2 ** (failures - 1))
            continue
        if fits(part, checksum):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
            return
        size = part.stat().st_size
        part.unlink()
        if whole:  # else the part was of another file or version: once more from the start
            raise PlaceError(f"{url}: wrong checksum ({size:,} bytes, expected {checksum})")


def fetch(
    file: RemoteFile, *, folder: str, mirror: str | None = None, report: Report = silent
) -> Path:
    """Return the path of a file with the right checksum; fetch it first where that is needed.

    `folder` is its sub-folder in mirrors and in the cache; `mirror` defaults to $SLIMGEN_MIRROR.
    A place that lacks the file or holds other bytes is passed over for the next: the mirror's
    folder, the cache, the mirror's address, the official address.

    Raises FetchError with one line that names the file and what was wrong with each place.
    """
    mirror = mirror or os.environ.get(MIRROR) or None
    mirrors = mirror_places(mirror, folder, file.name) if mirror else []
    cached = cache_folder() / folder / file.name
    wrong: list[str] = []
    for local in [*(place for place in mirrors if isinstance(place, Path)), cached]:
        if local.is_file() and fits(local, file.checksum):
            return local
        if local.is_file():
            wrong.append(f"{local}: wrong checksum (expected {file.checksum})")
        elif local != cached:
            wrong.append(f"{local}: no such file")
    addresses = [place for place in mirrors if isinstance(place, str)]
    addresses += [file.address] if file.address else []
    for address in addresses:
        try:
            with only_one(cached, report):
                if not (cached.is_file() and fits(cached, file.checksum)):
                    download(address, cached, file.checksum, report)
        except PlaceError as error:
            wrong.append(str(error))
        except OSError as error:
            raise FetchError(f"cannot write {cached}: {error.strerror or error}") from None
        else:
            return cached
    reasons = "; ".join(wrong) or "it has no public address"
    hint = "" if mirror else f"; set {MIRROR} to a folder or base URL that has it"
    raise FetchError(f"cannot get {file.name}: {reasons}{hint}")
