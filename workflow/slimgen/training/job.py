"""One run of one stage: where it writes, where its resumable state lives, when it must stop.

Snakemake deletes declared outputs and truncates logs before a retry, so everything that a second
start needs lies in the undeclared state folder, guarded by a lock and a fingerprint. This module
imports no torch.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from slimgen.data.files import find_below, read_json, write_json

EXIT_STOPPED = 75  # EX_TEMPFAIL: stopped on request with its state saved; start it again
PUBLISH_SECONDS = 2.0  # at least between two writes of progress.json
PLANNED = "SLIMGEN_PLANNED"  # environment: when the Snakemake that starts this job planned it
DONE, KEPT = "finished.json", "finished"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(SystemExit):
    """The stage saved its state and stops; the process exits with code 75."""

    def __init__(self, reason: str) -> None:
        super().__init__(EXIT_STOPPED)
        self.reason = reason


class StageError(Exception):
    """The stage cannot succeed as it was asked to run; the message is one clear line."""


class PassingError(StageError):
    """The machine or the network did not let the stage succeed; another attempt may."""


def _planned() -> float | None:
    return float(os.environ[PLANNED]) if PLANNED in os.environ else None


@dataclass
class Job:
    """What a stage knows about its run.

    `out` receives the declared outputs, `state` the checkpoints, `device` is a torch device name,
    `fingerprint` identifies settings, inputs and code, `deadline` is a time.monotonic() value,
    `planned` the time.time() at which Snakemake planned the job (None by hand).
    """

    stage: str
    out: Path
    state: Path
    seed: int = 0
    device: str = "cpu"
    fingerprint: str = ""
    code: str = ""
    deadline: float | None = None
    planned: float | None = field(default_factory=_planned)
    signal_name: str | None = field(default=None, repr=False)

    def stop_reason(self) -> str | None:
        """Return why the stage should save and stop now, or None."""
        if self.signal_name is not None:
            return self.signal_name
        if self.deadline is not None and time.monotonic() > self.deadline:
            return "the time budget is spent"
        return None

    def stop_if_asked(self) -> None:
        """Raise Stopped when a signal came or the budget is spent (call with the state saved)."""
        reason = self.stop_reason()
        if reason is not None:
            raise Stopped(reason)

    def install_signals(self) -> None:
        """Let SIGTERM, SIGUSR1 and SIGINT ask to save and stop; a second SIGINT kills."""

        def request(number: int, _frame: FrameType | None) -> None:
            self.signal_name = signal.Signals(number).name
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        for number in STOP_SIGNALS:
            signal.signal(number, request)

    def progress(self, **values: Any) -> None:
        """Publish where the stage stands in `progress.json` (step, steps, rate, ...)."""
        write_json(
            self.state / "progress.json",
            {"stage": self.stage, "out": str(self.out), "seed": self.seed, "device": self.device}
            | values
            | {"time": time.time()},
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the state folder's lock; wait for another holder until the deadline, then stop."""
        told = False
        while (file := self._try_lock()) is None:
            if not told:
                print(f"{self.stage}: another job holds {self.state}; waiting", file=sys.stderr)
                told = True
            self.stop_if_asked()
            time.sleep(0.2)
        with file:
            yield

    def _try_lock(self) -> TextIO | None:
        """Return the locked file, or None where another process holds it."""
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / "lock"
        try:
            file = path.open("w")
        except FileNotFoundError:  # the other holder finished and took the folder away
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file  # and no lock of a folder that was taken away meanwhile
        except (BlockingIOError, FileNotFoundError):
            pass
        file.close()
        return None

    def open_state(self) -> None:
        """Empty the state folder where it belongs to other settings, inputs or code.

        Raises StageError with the old reason where an earlier attempt of this very run failed (for
        bad input: an attempt of the same start of the workflow; a new one looks again).
        """
        marker = self.state / "fingerprint.json"
        old = read_json(marker) if marker.exists() else None
        if old is None or old.get("fingerprint") != self.fingerprint:
            for path in self.state.iterdir():
                if path.name != "lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(marker, {"fingerprint": self.fingerprint, "stage": self.stage})
        failure = self.state / "failure.json"
        if not failure.exists():
            return
        told = read_json(failure)
        if told.get("planned") not in (None, self.planned):
            failure.unlink()
            return
        raise StageError(
            f"{told['reason']} (an earlier attempt of this run; delete {self.state} to try again)"
        )

    def fail(self, reason: str) -> StageError:
        """Write the reason into the state folder (a retry then ends at once); return the error."""
        write_json(self.state / "failure.json", {"reason": reason})
        return StageError(reason)

    def note_failure(self, error: StageError) -> None:
        """Let the other attempts of this start of the workflow end at once with this reason.

        Not where it may pass by itself, where it is noted already, or by hand: there the user mends
        the input and starts again.
        """
        failure = self.state / "failure.json"
        if self.planned is None or isinstance(error, PassingError) or failure.exists():
            return
        write_json(failure, {"reason": str(error), "planned": self.planned})

    def close_state(self) -> None:
        """Delete the state folder: the outputs are written.

        Where another start of the workflow may have planned this very job meanwhile, links to the
        outputs stay for it: Snakemake deletes them before that job begins, which takes them back.
        """
        if self.planned is None:
            shutil.rmtree(self.state, ignore_errors=True)
            return
        for path in self.state.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        kept = self.state / KEPT
        kept.mkdir()
        try:
            for path in self.out.iterdir():
                os.link(path, kept / path.name)
        except OSError:  # a file system without hard links
            shutil.rmtree(self.state, ignore_errors=True)
            return
        write_json(self.state / DONE, {"fingerprint": self.fingerprint, "time": time.time()})

    def take_back(self) -> bool:
        """Return whether another start has finished this very run since this one was planned.

        Its outputs then lie in `out`: nothing is to be computed twice.
        """
        marker = self.state / DONE
        if self.planned is None or not marker.exists():
            return False
        done = read_json(marker)
        if done["fingerprint"] != self.fingerprint or done["time"] < self.planned:
            return False
        self.out.mkdir(parents=True, exist_ok=True)
        for path in (self.state / KEPT).iterdir():
            (self.out / path.name).unlink(missing_ok=True)
            os.link(path, self.out / path.name)
        print(f"{self.stage}: an earlier start has finished this meanwhile", file=sys.stderr)
        return True


def forget_finished(runs: Path) -> None:
    """Delete the links that finished jobs left below a folder: the whole workflow is done."""
    for marker in find_below(runs, DONE):
        shutil.rmtree(marker.parent)


def format_seconds(seconds: float) -> str:
    """Return 75 as 1:15 and 3700 as 1:01:40."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def describe(settings: Mapping[str, Any]) -> str:
    """Return settings as the JSON text that fingerprints are made of."""
    return json.dumps(settings, sort_keys=True)
