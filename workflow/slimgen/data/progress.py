"""How far a long read or download is: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

# (what, done, total): `total` is None where it is not known, as in a download without a length.
Report = Callable[[str, int, int | None], None]

LINE_SECONDS = 10.0
BAR_SECONDS = 0.1


def silent(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


class Reporter:
    """Shows reports on stderr and passes each one shown on to `publish`.

    `poll` is called with every report and may raise to end the work. Use as a context manager.
    """

    def __init__(self, *, publish: Report, poll: Callable[[], None]) -> None:
        self.publish, self.poll = publish, poll
        self.shown: tuple[str, float] | None = None
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
        )
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        if sys.stderr.isatty():
            self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))

    def __enter__(self) -> Reporter:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` of `what` is done, if the last time is long enough ago."""
        self.poll()
        now = time.monotonic()
        new = self.shown is None or self.shown[0] != what
        wait = BAR_SECONDS if self.bar is not None else LINE_SECONDS
        if self.shown is not None and not new and done != total and now - self.shown[1] < wait:
            return
        self.shown = (what, now)
        self.publish(what, done, total)
        if self.bar is None:
            print(f"{what}: {done:,}{'' if total is None else f' of {total:,}'}", file=sys.stderr)
            return
        if new or self.task is None:
            self.task = self.bar.add_task(what, total=total)
        self.bar.update(self.task, completed=done, total=total)
