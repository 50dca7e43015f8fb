"""One run of one stage: where it writes, where its resumable state lives, when it must stop.

Snakemake deletes declared outputs and truncates logs before a retry, so everything that a second
start needs lies in the undeclared state folder, guarded by a lock and a fingerprint. This module
imports no torch.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from slimgen.data.files import read_json, write_json

EXIT_STOPPED = 75  # EX_TEMPFAIL: stopped on request with its state saved; start it again
PUBLISH_SECONDS = 2.0  # at least between two writes of progress.json
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(SystemExit):
    """The stage saved its state and stops; the process exits with code 75."""

    def __init__(self, reason: str) -> None:
        super().__init__(EXIT_STOPPED)
        self.reason = reason


class StageError(Exception):
    """The stage cannot succeed as it was asked to run; the message is one clear line."""


@dataclass
class Job:
    """What a stage knows about its run.

    `out` receives the declared outputs, `state` the checkpoints, `device` is a torch device name,
    `fingerprint` identifies settings, inputs and code, `deadline` is a time.monotonic() value.
    """

    stage: str
    out: Path
    state: Path
    seed: int = 0
    device: str = "cpu"
    fingerprint: str = ""
    code: str = ""
    deadline: float | None = None
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
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "lock").open("w") as file:
            told = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        print(
                            f"{self.stage}: another job holds {self.state}; waiting",
                            file=sys.stderr,
                        )
                        told = True
                    self.stop_if_asked()
                    time.sleep(0.2)
            yield

    def open_state(self) -> None:
        """Empty the state folder where it belongs to other settings, inputs or code.

        Raises StageError with the old reason where an earlier attempt of this very run failed.
        """
        marker = self.state / "fingerprint.json"
        old = read_json(marker) if marker.exists() else None
        if old is None or old.get("fingerprint") != self.fingerprint:
            for path in self.state.iterdir():
                if path.name != "lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(marker, {"fingerprint": self.fingerprint, "stage": self.stage})
        failure = self.state / "failure.json"
        if failure.exists():
            reason = read_json(failure)["reason"]
            raise StageError(
                f"{reason} (an earlier attempt of this run; delete {self.state} to try again)"
            )

    def fail(self, reason: str) -> StageError:
        """Write the reason into the state folder (a retry then ends at once); return the error."""
        write_json(self.state / "failure.json", {"reason": reason})
        return StageError(reason)

    def close_state(self) -> None:
        """Delete the state folder: the outputs are written."""
        shutil.rmtree(self.state, ignore_errors=True)


def format_seconds(seconds: float) -> str:
    """Return 75 as 1:15 and 3700 as 1:01:40."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def describe(settings: Mapping[str, Any]) -> str:
    """Return settings as the JSON text that fingerprints are made of."""
    return json.dumps(settings, sort_keys=True)
