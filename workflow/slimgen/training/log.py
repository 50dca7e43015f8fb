"""Where training stands: log.jsonl, TensorBoard events, progress.json, a bar or plain lines."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from slimgen.data.files import write_text
from slimgen.training.job import PUBLISH_SECONDS, Job, format_seconds
from slimgen.training.processes import average, rank

LOGGED = ("seconds", "sums", "counts")  # its names in a checkpoint, among those of the system


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of an earlier start; a full disk may have cut the last one."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


class Log:
    """Averages metrics between log points and publishes them everywhere at once.

    After a resume (`before`: the state that was saved), lines beyond the resumed step are dropped
    first: the file reads as if the run had never stopped, plus one line with `event: resumed`.
    """

    def __init__(
        self, job: Job, *, steps: int, start: int, before: dict[str, Any] | None, images: int
    ) -> None:
        self.job, self.steps, self.images = job, steps, images
        before = before or {"seconds": 0.0, "sums": {}, "counts": {}}  # LOGGED
        self.before, self.since, self.first = before["seconds"], time.monotonic(), start
        self.sums: dict[str, Any] = before["sums"]
        self.counts: dict[str, int] = before["counts"]
        self.published = 0.0
        self.writes = rank() == 0
        self.bar: Progress | None = None
        if self.writes:
            self._open(start)

    def _open(self, start: int) -> None:
        from tensorboardX import SummaryWriter

        self.path = self.job.state / "log.jsonl"
        kept = [json.dumps(line) for line in _whole_lines(self.path) if line["step"] <= start]
        if start:
            kept.append(json.dumps({"step": start, "event": "resumed"}))
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.events = SummaryWriter(str(self.job.state), purge_step=start, flush_secs=10)
        self.bar = self._make_bar() if sys.stderr.isatty() else None
        begun = "resumed at" if start else "starting at"
        print(
            f"{self.job.stage}: {begun} step {start} of {self.steps}",
            file=sys.stderr,
        )

    def _make_bar(self) -> Progress:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f} {task.fields[loss]} {task.fields[rate]}"
            ),
            TimeRemainingColumn(),
        )
        self.task = bar.add_task(
            self.job.stage, total=self.steps, completed=self.first, loss="", rate=""
        )
        bar.start()
        return bar

    @property
    def seconds(self) -> float:
        """Seconds spent in the loop, earlier starts included."""
        return self.before + time.monotonic() - self.since

    def add(self, metrics: dict[str, Any]) -> None:
        """Add one step's metrics (tensors stay on their device until the next log point)."""
        for name, value in metrics.items():
            value = value.detach() if isinstance(value, torch.Tensor) else value
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, step: int) -> dict[str, float]:
        """Return the averages since the last log point, over all processes of the training.

        Raises StageError where one of them is not finite; a retry then ends at once.
        """
        means = average(
            {name: float(value) / self.counts[name] for name, value in self.sums.items()}
        )
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise self.job.fail(f"{self.job.stage}: {bad[0]} is {means[bad[0]]} by step {step}")
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return what belongs into a checkpoint: a resumed run then writes the same lines."""
        return {"seconds": self.seconds, "sums": dict(self.sums), "counts": dict(self.counts)}

    def write(self, step: int) -> dict[str, float]:
        """Write the averages since the last log point as step `step`; return them.

        Of several processes of a training the first one alone writes.

        Raises StageError where one of them is not finite.
        """
        means = self.means(step)
        self.sums, self.counts = {}, {}
        if not self.writes:
            return means
        rate = (step - self.first) * self.images / max(1e-9, time.monotonic() - self.since)
        line = {
            "step": step,
            "seconds": round(self.seconds, 2),
            "images_per_second": round(rate, 1),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line | means) + "\n")
        for name, value in means.items():
            self.events.add_scalar(name, value, step)
        self.show(step, means.get("loss"), rate, force=True)
        return means

    def show(
        self,
        step: int,
        loss: float | None = None,
        rate: float | None = None,
        *,
        force: bool = False,
    ) -> None:
        """Publish progress at most every two seconds, or now."""
        now = time.monotonic()
        if not self.writes:
            return
        if not force and now - self.published < PUBLISH_SECONDS:
            return
        self.published = now
        pace = (now - self.since) / max(1, step - self.first)
        left = pace * (self.steps - step)
        rate = rate if rate is not None else self.images / max(1e-9, pace)
        self.job.progress(
            step=step,
            steps=self.steps,
            images_per_second=round(rate, 1),
            seconds_left=round(left, 1),
        )
        if self.bar is not None:
            fields: dict[str, Any] = {"rate": f"{rate:.0f} img/s"}
            if loss is not None:
                fields["loss"] = f"loss {loss:.4f}"
            self.bar.update(self.task, completed=step, **fields)
        elif loss is not None:
            print(
                f"{self.job.stage}: step {step}/{self.steps} loss {loss:.4f} "
                f"{rate:.0f} img/s, {format_seconds(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Flush and stop the bar."""
        if self.writes:
            self.events.close()
        if self.bar is not None:
            self.bar.stop()
