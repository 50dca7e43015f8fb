"""How far a run is, from its files alone: works while it runs, from another terminal, and after.

A job is done where its `settings.json` holds the settings that the config now gives it; it runs
where its state folder's lock is held; it was stopped where state lies and nobody holds the lock; it
failed where that state holds a reason. On a cluster the queue is asked as well (`slurm_queue`).
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, JustifyMethod
from rich.table import Table

from slimgen.config.run import (
    STAGES,
    Config,
    ConfigError,
    load,
    parse_settings,
    read_config,
    stage_settings,
)
from slimgen.render.outputs import FIGURE_FORMATS, FIGURES, TABLE_FORMATS, TABLES
from slimgen.tracking.plan import PlannedJob, pages, planned_jobs
from slimgen.tracking.run_lock import is_locked
from slimgen.tracking.slurm_queue import queue_notes
from slimgen.training.job import format_seconds

State = Literal["done", "changed", "running", "stopped", "failed", "waiting"]
STYLES = {"running": "cyan", "stopped": "dim", "failed": "red"}


@dataclass(frozen=True)
class JobStatus:
    """One job and where it stands.

    `progress` is what a job under way last published, `saved` its last checkpoint as text, `reason`
    why it failed.
    """

    job: PlannedJob
    state: State
    progress: dict[str, Any]
    saved: str = ""
    reason: str = ""


def read_status(config: Config, root: Path = Path()) -> list[JobStatus]:
    """Return the status of every job of the run, its pages last."""
    statuses = [_job_status(config, job, root) for job in planned_jobs(config)]
    results = root / "results" / config.run
    for page in pages(config):
        done = all((results / file).exists() for file in page_outputs(page))
        job = PlannedJob("render", page)
        statuses.append(JobStatus(job, "done" if done else "waiting", {}))
    return statuses


def page_outputs(page: str) -> list[str]:
    """Return the tables and figures of a page, relative to `results/{run}`."""
    tables = [f"tables/{name}.{suffix}" for name in TABLES[page] for suffix in TABLE_FORMATS]
    figures = [f"figures/{name}.{suffix}" for name in FIGURES[page] for suffix in FIGURE_FORMATS]
    return tables + figures


def _job_status(config: Config, job: PlannedJob, root: Path) -> JobStatus:
    state = root / "runs" / config.run / job.folder
    if state.exists():
        progress, saved = _read(state / "progress.json") or {}, last_checkpoint(state)
        failure = _read(state / "failure.json")
        if failure is not None:
            return JobStatus(job, "failed", progress, saved, str(failure.get("reason")))
        if is_locked(state / "lock"):
            return JobStatus(job, "running", progress, saved)
        if (state / "fingerprint.json").exists():
            return JobStatus(job, "stopped", progress, saved)
    ran = _read(root / "results" / config.run / job.folder / "settings.json")
    if ran is None:
        return JobStatus(job, "waiting", {})
    try:
        # A key that came since then has its default: the job is still done.
        same = parse_settings(job.stage, json.dumps(ran["settings"])) == stage_settings(
            config, job.stage, job.variant
        )
    except (ConfigError, KeyError):
        same = False
    return JobStatus(job, "done" if same else "changed", {})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def last_checkpoint(state: Path) -> str:
    """Return what a state folder has saved and when: `step 120, 0:35 ago`, or nothing."""
    shards = sorted(state.glob("shard-*.npz"), key=lambda path: path.stat().st_mtime)
    path = shards[-1] if shards else state / "last.safetensors"
    try:
        age = format_seconds(max(0.0, time.time() - path.stat().st_mtime))
        what = f"{len(shards)} shards" if shards else f"step {_saved_step(path)}"
    except (OSError, ValueError, KeyError, struct.error):
        return ""
    return f"{what}, {age} ago"


def _saved_step(path: Path) -> str:
    """Read the step off the header of a safetensors file: its length, then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return str(json.loads(file.read(length))["__metadata__"]["step"])


def status_table(config: Config, statuses: list[JobStatus]) -> Table:
    """Return a line per stage with its jobs done, and below it a line per job under way."""
    done = sum(status.state == "done" for status in statuses)
    table = Table(title=f"{config.run}: {done} of {len(statuses)} jobs done", title_justify="left")
    for column in ("stage", "jobs", "step", "rate", "left", "device", "saved"):
        justify: JustifyMethod = "left" if column == "stage" else "right"
        table.add_column(column, justify=justify, overflow="fold")  # names that are cut say nothing
    for stage in [*STAGES, "render"]:
        here = [status for status in statuses if status.job.stage == stage]
        if not here:
            continue
        counts = Counter(status.state for status in here)
        changed = f" ({counts['changed']} changed)" if counts["changed"] else ""
        table.add_row(stage, f"{counts['done']}/{len(here)}{changed}")
        for status in here:
            if status.state in STYLES:
                table.add_row(*job_cells(status), style=STYLES[status.state])
    return table


def failure_notes(statuses: list[JobStatus]) -> list[str]:
    """Return a line for each job that failed for a reason of its own."""
    failed = [status for status in statuses if status.state == "failed"]
    return [f"{status.job.name} failed: {status.reason}" for status in failed]


def job_cells(status: JobStatus) -> list[str]:
    """Return a job's name, state, step, rate, time left, device and last checkpoint as text."""
    progress = status.progress
    seed = "" if status.job.seed is None else f" seed {status.job.seed}"
    step = f"{progress['step']}/{progress['steps']}" if "steps" in progress else ""
    rate = f"{progress['images_per_second']:.0f} img/s" if "images_per_second" in progress else ""
    left = ""
    if status.state == "running" and "seconds_left" in progress:
        left = format_seconds(progress["seconds_left"])
    name, device = f"  {status.job.variant}{seed}", str(progress.get("device", ""))
    return [name, status.state, step, rate, left, device, status.saved]


def status_line(statuses: list[JobStatus]) -> str:
    """Return one plain line about what is under way, for logs and pipes."""
    parts = []
    for status in statuses:
        if status.state == "running":
            _, _, step, rate, left, _, _ = job_cells(status)
            details = ", ".join(part for part in (step, rate, left and f"{left} left") if part)
            parts.append(status.job.name + (f" ({details})" if details else ""))
    return "; ".join(parts)


def recorded_config(run: str, root: Path = Path(), *, since: float = 0.0) -> Config | None:
    """Return the config with which a run was last started (after `since`), or None."""
    path = root / "logs" / run / "config.json"
    if not path.exists() or path.stat().st_mtime < since:
        return None
    return load(json.loads(path.read_text(encoding="utf-8")))


def find_config(run: str | None, root: Path = Path()) -> Config:
    """Return the config of a run, or of the run started last: as started, or from `config/`.

    Raises ConfigError where no such run is known.
    """
    started = sorted(root.glob("logs/*/config.json"), key=lambda path: path.stat().st_mtime)
    if run is None and started:
        run = started[-1].parent.name
    if run is None:
        return read_config(root / "config" / "config.yaml")
    recorded = recorded_config(run, root)
    if recorded is not None:
        return recorded
    configs = [read_config(path) for path in sorted((root / "config").glob("*.yaml"))]
    for config in configs:
        if config.run == run:
            return config
    raise ConfigError(f"--run {run}: no such run; there are {', '.join(c.run for c in configs)}")


def show_status(argv: list[str]) -> int:
    """Print the table of one run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m slimgen status", description=show_status.__doc__
    )
    parser.add_argument("--run", help="name of the run; default: the one started last")
    config = find_config(parser.parse_args(argv).run)
    statuses, console = read_status(config), Console()
    console.print(status_table(config, statuses))
    for note in failure_notes(statuses) + queue_notes():
        console.print(note, soft_wrap=True, markup=False, highlight=False)
    return 0
