"""The tests' own SLURM, and copies of the checkout whose jobs run on it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from checkout import Checkout

SCRIPT = Path(__file__).with_name("cluster.sh")
LOCK = Path("/var/lock/slimgen-test-slurm")
# Snakemake looks 8 s after a submission, then ever later: a job of these tests takes about as long.
OPTIONS = ["--slurm-init-seconds-before-status-checks", "8", "--latency-wait", "5"]
PATIENCE = 900  # seconds: no measure of speed; something hangs


def run_script(command: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), command, str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@contextmanager
def one_node(folder: Path, *options: str) -> Iterator[None]:
    """Start a SLURM of one node; stop it in the end, whatever happens. One at a time per machine.

    Raises RuntimeError with the reason where it cannot be started.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            done = run_script("start", folder, *options)
            if done.returncode != 0:
                raise RuntimeError((done.stdout + done.stderr).strip())
            yield
        finally:
            run_script("stop", folder)


def slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def wait_until(what: Callable[[], object], message: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, message()
        time.sleep(0.1)


@dataclass
class Cluster:
    """A checkout whose workflow runs on SLURM; the controllers that were started in it."""

    checkout: Checkout
    config: str
    controllers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def set_site(self, **values: object) -> None:
        path = self.checkout.path / "workflow" / "profiles" / "slurm" / "site.yaml"
        path.write_text(yaml.safe_dump(values))

    @property
    def environment(self) -> dict[str, str]:
        """The checkout's; compiled modules are kept: each job starts Python three times."""
        environment = self.checkout.environment(COLUMNS="120")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment

    def start(self, *words: str, name: str) -> subprocess.Popen[bytes]:
        """Start `python -m slimgen run` on SLURM; what it says goes to the file `name`."""
        command = [sys.executable, "-m", "slimgen", "run", *words, "--configfile", self.config]
        with (self.checkout.path / name).open("wb") as file:
            child = subprocess.Popen(
                [*command, "--profile", "profiles/slurm", *OPTIONS],
                cwd=self.checkout.path,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.controllers.append(child)
        return child

    def kill_controllers(self) -> None:
        """Kill every Snakemake that was started here, as a machine that goes down does."""
        for child in self.controllers:
            with suppress(ProcessLookupError, subprocess.CalledProcessError):
                found = subprocess.run(
                    ["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=False
                )
                for pid in found.stdout.split():
                    os.kill(int(pid), signal.SIGKILL)
            child.kill()
            child.wait()
        self.controllers.clear()

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start Python beside SLURM, with low priority."""
        command = ["nice", sys.executable, *words]
        return subprocess.Popen(command, cwd=self.checkout.path, env=self.environment)

    def run(self, *words: str) -> None:
        """Run one stage beside SLURM."""
        assert self.begin("-m", "slimgen", *words).wait(PATIENCE) == 0

    def snakemake(self, *words: str) -> str:
        return self.checkout.snakemake(*words).stdout

    def status(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "slimgen", "status"],
            cwd=self.checkout.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def read(self, name: str) -> str:
        path = self.checkout.path / name
        return path.read_text(errors="replace") if path.exists() else ""


def jobs() -> dict[str, list[tuple[str, str]]]:
    """Return (number, state) of every job that SLURM remembers, by its comment (its rule)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in slurm("squeue", "--noheader", "--states=all", "--format=%i|%T|%k").splitlines():
        number, state, comment = line.split("|", 2)
        found.setdefault(comment, []).append((number, state))
    return {name: sorted(entries, key=lambda e: int(e[0])) for name, entries in found.items()}


def details(number: str) -> dict[str, str]:
    """Return what `scontrol show job` says, by key."""
    return dict(re.findall(r"(\S+?)=(\S*)", slurm("scontrol", "show", "job", number)))


def trainer(number: str) -> int | None:
    """Return the process of the stage that a job runs."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"slimgen"] and (
                f"\0SLURM_JOB_ID={number}\0".encode() in b"\0" + (path / "environ").read_bytes()
            ):
                return int(path.name)
    return None
