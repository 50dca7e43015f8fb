"""The downloader against a local server: whole or not at all, resumed, mirror first, one line."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import resource
import threading
from pathlib import Path

import pytest

from slimgen.data import download as download_module
from slimgen.data.download import CHUNK, MIRROR, RemoteFile, cache_folder, fetch
from slimgen.data.errors import DataError

BODY = hashlib.shake_256(b"slimgen").digest(5 * CHUNK + 123)
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY in the way that the path names, and keeps a list of requests."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        name = self.path.rsplit("/", 1)[-1]
        if name == "loop.bin":
            return self.answer(302, b"", location=f"/again/{len(self.server.requests)}/loop.bin")
        if name == "moved.bin":
            return self.answer(302, b"", location="/good/file.bin")
        if name == "ftp.bin":
            return self.answer(302, b"", location="ftp://127.0.0.1/file.bin")
        if name == "local.bin":
            return self.answer(302, b"", location=Path(__file__).as_uri())
        if name == "busy.bin" and len(self.server.requests) < 3:
            return self.answer(503, b"")
        if name == "wrong.bin":
            return self.answer(200, b"something else")
        if name in self.server.missing or self.path in self.server.missing:
            return self.answer(404, b"")
        start = 0
        wanted = self.headers.get("Range")
        if wanted and name != "norange.bin":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(BODY):
                return self.answer(416, b"")
            head = {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
        else:
            head = {}
        body = BODY[start:]
        cut = len(body)
        if name in ("drop.bin", "norange.bin") and len(self.server.requests) == 1:
            cut = 2 * CHUNK
        if name == "short.bin":
            cut = min(cut, CHUNK if start == 0 else 0)
        self.send_response(206 if head else 200)
        for key, value in head.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut < len(body)
        return None

    def answer(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.requests, httpd.missing = [], {"missing.bin"}
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "PAUSE", 0.0)


def remote(server, name: str, checksum: str = SHA256) -> RemoteFile:
    return RemoteFile(name, checksum, f"{server.url}/official/{name}")


def visible(folder: Path) -> list[str]:
    """Return the files that anybody could take for data."""
    return [path.name for path in folder.rglob("[!.]*") if path.is_file()]


def test_a_download_is_whole_kept_and_not_repeated(server):
    seen = []
    path = fetch(remote(server, "file.bin"), folder="set", report=lambda *r: seen.append(r))
    assert path == cache_folder() / "set" / "file.bin"
    assert path.read_bytes() == BODY
    assert seen[-1] == ("file.bin", len(BODY), len(BODY))
    assert fetch(remote(server, "file.bin"), folder="set") == path
    assert len(server.requests) == 1


def test_a_drop_in_the_middle_goes_on_by_range(server):
    path = fetch(remote(server, "drop.bin"), folder="set")
    assert path.read_bytes() == BODY
    assert server.requests == [
        ("/official/drop.bin", None),
        ("/official/drop.bin", f"bytes={2 * CHUNK}-"),
    ]


def test_a_later_start_goes_on_where_a_stopped_one_was(server):
    def stop(what: str, done: int, total: int | None) -> None:
        if done >= CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(remote(server, "file.bin"), folder="set", report=stop)
    assert visible(cache_folder()) == []
    path = fetch(remote(server, "file.bin"), folder="set")
    assert path.read_bytes() == BODY
    start = int(server.requests[-1][1].removeprefix("bytes=").removesuffix("-"))
    assert start >= CHUNK


def test_a_server_without_ranges_starts_over(server):
    assert fetch(remote(server, "norange.bin"), folder="set").read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_part_of_another_file_is_thrown_away(server):
    part = cache_folder() / "set" / ".file.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert fetch(remote(server, "file.bin"), folder="set").read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize(("extra", "requests"), [(b"", 1), (b"more", 2)])
def test_a_part_that_is_as_long_as_the_file_or_longer(server, extra, requests):
    part = cache_folder() / "set" / ".file.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + extra)
    assert fetch(remote(server, "file.bin"), folder="set").read_bytes() == BODY
    assert len(server.requests) == requests


def test_a_busy_server_is_asked_again(server):
    assert fetch(remote(server, "busy.bin"), folder="set").read_bytes() == BODY
    assert len(server.requests) == 3


def test_redirects_are_followed(server):
    assert fetch(remote(server, "moved.bin"), folder="set").read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.bin", "404 Not Found"),
        ("loop.bin", "more than 5 redirects"),
        ("ftp.bin", "InvalidSchema"),
        ("local.bin", "InvalidSchema"),  # a server does not make us read our own files
        ("wrong.bin", r"wrong checksum \(14 bytes, expected sha256:"),
        ("short.bin", r"IncompleteRead.* after 65,536 bytes"),
    ],
)
def test_a_failure_is_one_line_and_leaves_no_file(server, name, message):
    with pytest.raises(DataError, match=rf"cannot get {name}: .*{message}") as caught:
        fetch(remote(server, name), folder="set")
    assert "\n" not in str(caught.value)
    assert visible(cache_folder()) == []


def test_a_server_that_is_not_there_is_one_line(server):
    file = RemoteFile("file.bin", SHA256, "http://127.0.0.1:9/file.bin")
    with pytest.raises(
        DataError, match=r"cannot get file.bin: .*refused.*set SLIMGEN_MIRROR"
    ) as caught:
        fetch(file, folder="set")
    assert "\n" not in str(caught.value)


def _fetch_little(file: RemoteFile) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * CHUNK, resource.RLIM_INFINITY))
    with pytest.raises(DataError, match=r"^cannot write .*file.bin: File too large$"):
        fetch(file, folder="set")


def test_a_disk_that_takes_no_more_is_one_line_and_loses_nothing(server):
    file = remote(server, "file.bin")
    child = multiprocessing.get_context("fork").Process(target=_fetch_little, args=(file,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert visible(cache_folder()) == []
    assert fetch(file, folder="set").read_bytes() == BODY
    assert server.requests[-1][1] == f"bytes={2 * CHUNK}-"


@pytest.mark.parametrize("inside", ["", "set"])
@pytest.mark.parametrize("how", ["argument", "environment", "address"])
def test_a_mirror_folder_comes_first_and_is_read_in_place(
    server, tmp_path, monkeypatch, inside, how
):
    held = tmp_path / "a mirror" / inside / "file.bin"
    held.parent.mkdir(parents=True)
    held.write_bytes(BODY)
    mirror = str(tmp_path / "a mirror")
    if how == "address":
        mirror = (tmp_path / "a mirror").as_uri()
    if how == "environment":
        monkeypatch.setenv(MIRROR, mirror)
    path = fetch(
        remote(server, "file.bin"), folder="set", mirror=None if how == "environment" else mirror
    )
    assert path == held
    assert server.requests == []
    assert not cache_folder().exists()


def test_a_mirror_address_comes_first_in_both_layouts(server):
    server.missing.add("/mirror/set/file.bin")
    fetch(remote(server, "file.bin"), folder="set", mirror=f"{server.url}/mirror/")
    assert [path for path, _ in server.requests] == ["/mirror/set/file.bin", "/mirror/file.bin"]


def test_a_mirror_with_other_bytes_is_passed_over(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(BODY[:-1])
    path = fetch(remote(server, "file.bin"), folder="set", mirror=str(tmp_path))
    assert path == cache_folder() / "set" / "file.bin"
    file = RemoteFile("file.bin", SHA256)  # no official address
    path.unlink()
    with pytest.raises(DataError, match=r"cannot get file.bin: .*file.bin: wrong checksum"):
        fetch(file, folder="set", mirror=str(tmp_path))


@pytest.mark.parametrize("mirror", ["ftp://127.0.0.1/data", "no/such/folder", "s3://bucket"])
def test_a_mirror_that_cannot_be_one_is_named(mirror):
    with pytest.raises(DataError, match=f"mirror {mirror}: "):
        fetch(RemoteFile("file.bin", SHA256), folder="set", mirror=mirror)


def test_two_at_once_fetch_it_once(server):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch(remote(server, "file.bin"), folder="s")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4
    assert len(server.requests) == 1
    assert paths[0].read_bytes() == BODY
