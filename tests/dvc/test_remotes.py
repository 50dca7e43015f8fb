"""Push to and pull from a plain folder, a real S3 protocol server and ssh on loopback."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import Repository, clone

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]


def needs(*packages: str) -> pytest.MarkDecorator:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not answer")


def stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(20)


def round_trip(whole: Repository, tmp_path: Path, name: str, url: str, **settings: str) -> None:
    """Push everything to the remote and pull it into a clone that has nothing else."""
    bare = clone(whole, tmp_path / "a clone")
    for repository in (whole, bare):
        repository.dvc("remote", "add", "--local", name, url)
        for key, value in settings.items():
            repository.dvc("remote", "modify", "--local", name, key, value)
    shutil.rmtree(bare.path / ".dvc" / "store")
    assert "8 files pushed" in whole.dvc("push", "--remote", name)
    bare.dvc("pull", "--remote", name)
    assert bare.pulled() == bare.pointers()


def test_folder(whole: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    round_trip(whole, tmp_path, "folder", str(folder))
    assert len(list(folder.glob("files/md5/*/*"))) == 8


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket `bucket` on a server at the address that is given."""
    import boto3

    port = free_port()
    # No address but the loopback's, no real keys.
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, server)
        url = f"http://127.0.0.1:{port}"
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
        yield url
    finally:
        stop(server)


@needs("moto", "flask", "dvc_s3")
def test_s3(whole: Repository, tmp_path: Path, s3: str) -> None:
    import boto3

    round_trip(whole, tmp_path, "bucket", "s3://bucket/models", endpointurl=s3)
    listed = boto3.client("s3", endpoint_url=s3).list_objects_v2(Bucket="bucket")
    assert listed["KeyCount"] == 8


SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An OpenSSH server on a port of the loopback, and the key that it lets in."""
    assert SSHD is not None
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    port = free_port()
    (folder / "config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # what the server's own start script does
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "config")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, server)
        yield port, folder / "user"
    finally:
        stop(server)


@needs("dvc_ssh")
@pytest.mark.skipif(SSHD is None, reason="no sshd (Debian: openssh-server)")
def test_ssh(whole: Repository, tmp_path: Path, ssh: tuple[int, Path]) -> None:
    port, key = ssh
    folder = tmp_path / "remote"
    folder.mkdir()
    url = f"ssh://127.0.0.1:{port}{folder}"
    round_trip(whole, tmp_path, "cluster", url, user=getpass.getuser(), keyfile=str(key))
    assert len(list(folder.glob("files/md5/*/*"))) == 8
