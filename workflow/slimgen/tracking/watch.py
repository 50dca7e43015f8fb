"""`python -m slimgen run [SNAKEMAKE OPTIONS]`: Snakemake as a child, with a table that lives.

Snakemake's own output goes to logs/snakemake.log. In a terminal the table is drawn anew every
second; elsewhere a plain line tells the state every 15 seconds. Ctrl-C, SIGTERM and SIGHUP reach
Snakemake and its jobs as an interrupt: every stage saves its state, and the same command goes on.
So it is when this process is killed: a shell waits for its end.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from slimgen.config.run import Config, read_mapping
from slimgen.data.files import write_fault
from slimgen.tracking.plan import pages
from slimgen.tracking.run_lock import is_locked, lock_file
from slimgen.tracking.slurm_queue import queue_notes
from slimgen.tracking.snakemake_log import SnakemakeLog
from slimgen.tracking.status import (
    JobStatus,
    failure_notes,
    page_outputs,
    read_status,
    recorded_config,
    status_line,
    status_table,
)
from slimgen.tracking.track import describe, track
from slimgen.training.job import EXIT_STOPPED, StageError, format_seconds

LOGS = Path("logs")
PLAIN_SECONDS = 15.0
PASSED_ON = {"-n", "--dry-run", "--dryrun", "-h", "--help", "--version", "--unlock"}


def open_log() -> BinaryIO:
    """Return an empty `logs/snakemake.log`, or `snakemake-2.log` while another Snakemake writes it.

    The lock belongs to whoever has the file open: Snakemake holds it until it ends.
    """
    for number in itertools.count(1):
        path = LOGS / ("snakemake.log" if number == 1 else f"snakemake-{number}.log")
        log = path.open("ab")
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.close()
            continue
        log.truncate(0)
        return log
    raise AssertionError


class Watch:
    """One start of Snakemake, looked at from outside."""

    def __init__(self, argv: list[str]) -> None:
        self.began = time.time()
        with open_log() as log:
            # A session of its own: signals reach Snakemake and its jobs once, through us.
            self.child = subprocess.Popen(
                [sys.executable, "-u", "-m", "snakemake", *argv],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Its input ends when this process does: then Snakemake and its jobs are interrupted.
        self.guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -s INT -- "-$1"', "sh", str(self.child.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.log = SnakemakeLog(Path(log.name))
        self.interrupted = False
        self.config: Config | None = None
        self.asked, self.queue, self.said = 0.0, list[str](), set[str]()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Pass interrupts on while the child runs."""

        def interrupt(_number: int, _frame: object) -> None:
            self.interrupted = True
            if self.child.poll() is None:
                os.killpg(self.child.pid, signal.SIGINT)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, interrupt) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def update(self) -> bool:
        """Read the log; return whether Snakemake still runs."""
        running = self.child.poll() is None
        self.log.update()
        if self.config is None and self.log.total and self.log.run:
            self.config = recorded_config(self.log.run, since=self.began - 1)
        return running

    def headline(self, under_way: str | None = None) -> str:
        """Return what this start has done and what is under way (by default the jobs' names)."""
        log = self.log
        jobs = f"{log.done} of {log.total} jobs" if log.total else "reading the config"
        under_way = under_way or ", ".join(log.running.values())
        parts = [f"this start: {jobs}", format_seconds(time.time() - self.began), under_way]
        if self.interrupted:
            parts.append("stopping, jobs save their state")
        return "; ".join(part for part in parts if part)

    def follow_live(self, console: Console) -> None:
        """Draw the table until Snakemake ends."""
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            while self.update():
                shown: list[RenderableType] = [Text(self.headline())]
                if self.config is not None:
                    statuses = read_status(self.config)
                    shown.append(status_table(self.config, statuses))
                    shown += [Text(note, style="red") for note in self.notes(statuses)]
                live.update(Group(*shown))
                self.wait(1.0)

    def follow_plainly(self) -> None:
        """Print a line now and then until Snakemake ends."""
        told = self.began
        while self.update():
            if time.time() - told >= PLAIN_SECONDS:
                told = time.time()
                statuses = read_status(self.config) if self.config else []
                line = self.headline(status_line(statuses))
                news = [note for note in self.notes(statuses) if note not in self.said]
                print("\n".join([line, *news]), file=sys.stderr, flush=True)
                self.said.update(news)
            self.wait(0.5)

    def end(self) -> int:
        """Wait for the child's end and return its code; if it was killed, let its jobs save."""
        code = self.child.wait()
        self.guard.kill()
        self.guard.wait()
        if code < 0:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGINT)
        return code

    def notes(self, statuses: list[JobStatus]) -> list[str]:
        """Return what must be known or done; a cluster's queue is asked once in 15 seconds."""
        if time.time() - self.asked >= PLAIN_SECONDS:
            self.asked, self.queue = time.time(), queue_notes()
        return failure_notes(statuses) + self.queue

    def wait(self, seconds: float) -> None:
        """Wait for the child, at most some seconds."""
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return


def make_report(config: Config, argv: list[str]) -> str | None:
    """Write the HTML report where it is older than a table or figure; return a fault, or None."""
    results = Path("results", config.run)
    report = results / "report.html"
    shown = [results / file for page in pages(config) for file in page_outputs(page)]
    if not all(path.exists() for path in shown):
        return None
    if report.exists() and report.stat().st_mtime >= max(path.stat().st_mtime for path in shown):
        return None
    command = [sys.executable, "-m", "snakemake", *argv, "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"report: {done.stderr.strip().splitlines()[-1]}"


def show_results(run: str) -> None:
    """Print the summary table of a run and where everything lies."""
    results = Path("results", run)
    summary = results / "tables" / "summary.md"
    if summary.exists():
        print(f"\n{summary.read_text(encoding='utf-8').rstrip()}\n")
    for name in ("report.html", "tables", "figures"):
        if (results / name).exists():
            print(f"{name.removesuffix('.html'):8} {results / name}")


def config_files(argv: list[str]) -> list[Path]:
    """Return the config files that Snakemake's arguments name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    return list(parser.parse_known_args(argv)[0].configfile)


def watch(argv: list[str]) -> int:
    """Run Snakemake with these arguments and show its progress; return its exit code."""
    for path in config_files(argv):
        read_mapping(path)  # Snakemake would tell with a traceback, or without the file's name
    if PASSED_ON & set(argv):
        return subprocess.run([sys.executable, "-m", "snakemake", *argv], check=False).returncode
    fault = write_fault(LOGS)
    if fault is not None:
        raise StageError(f"{LOGS}: nothing can be written there ({fault})")
    console = Console(stderr=True)
    run = Watch(argv)
    with run.signals():
        if console.is_terminal:
            run.follow_live(console)
        else:
            run.follow_plainly()
    code = run.end()
    run.update()
    took = format_seconds(time.time() - run.began)
    if run.interrupted:
        print(f"stopped after {took}; what was begun is saved in runs/: the same command goes on")
        return EXIT_STOPPED
    if code != 0:
        _show_failure(run, argv)
        return code
    if run.log.idle:
        print(f"nothing to do: everything is up to date ({took}); nothing was started")
    else:
        print(f"{run.log.done} jobs in {took}")
    if run.log.run is not None:
        config = run.config or recorded_config(run.log.run)
        fault = None if config is None else make_report(config, argv)
        if fault:
            print(fault, file=sys.stderr)
        show_results(run.log.run)
        if config is not None and config.track.after_run:
            # As started, with what the command line changed.
            print(describe(config, track(config, Path("logs", config.run, "config.json"))))
    return code


def _show_failure(run: Watch, argv: list[str]) -> None:
    for failure in run.log.failures:
        print(failure.describe(), file=sys.stderr)
    statuses = read_status(run.config) if run.config else []
    for note in failure_notes(statuses):
        if note not in run.said:
            print(note, file=sys.stderr)
    if not run.log.failures:  # before any job: the config, the command line, the graph
        lines = run.log.path.read_text(encoding="utf-8", errors="replace").splitlines()
        if "LockException:" in lines:
            lines = [_explain_lock(run.log.run, argv)]
        told = [line for line in lines if line.startswith("slimgen: ")]
        print("\n".join(told or lines[-20:]), file=sys.stderr)
    code = run.child.returncode
    if code < 0:
        print(
            f"Snakemake was killed ({signal.Signals(-code).name}); its jobs save what they have in "
            f"runs/. {_unlock_advice(argv)}",
            file=sys.stderr,
        )
    print(f"Snakemake ended with exit code {code}; all it said: {run.log.path}", file=sys.stderr)


def _explain_lock(run: str | None, argv: list[str]) -> str:
    """Return what Snakemake's lock means: a run that is under way, or one that was killed."""
    if run is not None and is_locked(lock_file(run)):
        return f"locked: run {run} is under way in this folder (`make status`)"
    return (
        "locked: a run was killed in this folder; what it did up to its last checkpoint is in "
        f"runs/. {_unlock_advice(argv)}"
    )


def _unlock_advice(argv: list[str]) -> str:
    names = " ".join(shlex.quote(str(path)) for path in config_files(argv))
    files = f" --configfile {names}" if names else ""
    return f"Take the lock away and start again: .venv/bin/snakemake --unlock{files}"
