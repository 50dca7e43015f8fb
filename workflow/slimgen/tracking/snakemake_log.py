"""What Snakemake's output says: how many jobs of this start are done, and which failed and why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

STEPS = re.compile(r"^(\d+) of (\d+) steps \(")
RUN = re.compile(r"^slimgen run: (\S+)")
# A group of jobs stands one level deeper.
START = re.compile(r"^(?:    )?(?:local)?rule (\w+):")
JOB = re.compile(r"^(?:    ){1,2}jobid: (\d+)")
WILDCARDS = re.compile(r"^(?:    ){1,2}wildcards: (.+)")
FINISHED = re.compile(r"^Finished jobid: (\d+)(?: \(Rule: (\w+)\))?")
TOTAL = re.compile(r"^total\s+(\d+)\s*$")
RENDERED = ("tables", "figures")  # the rules that ask for every page's files
TARGETS = ("all", *RENDERED)  # rules that do nothing themselves: no jobs
TARGET = re.compile(rf"^(?:{'|'.join(TARGETS)})\s+1\s*$")
ERROR = re.compile(r"^(?:    )?Error in rule (\w+):")
# A cluster job names a second log, in which the Snakemake on the node speaks.
LOG = re.compile(
    r"^(?:    ){1,2}log: (.+?)(?:, .+)?(?: \(check log file\(s\) for error details\))?$"
)
SHOWN, BAR = re.compile(r"^Logfile .+:$"), re.compile(r"^=+$")
SUBMITTED = re.compile(r"^Job \S+ has been submitted")
UNWRITTEN = re.compile(r"^MissingOutputException in rule (\w+)")
MISSING = re.compile(r"^(\S.*?) \(missing locally")
INCOMPLETE = re.compile(r"^Job (\d+)  completed successfully, but")
EXIT = re.compile(r"returned non-zero exit status (\d+)")


@dataclass
class Failure:
    """A job that failed: its rule, log file and exit code, as far as Snakemake said them."""

    rule: str
    log: Path | None = None
    exit_code: int | None = None
    unwritten: list[str] = field(default_factory=list)
    job: int | None = None

    def describe(self, lines: int = 15) -> str:
        """Return rule, exit code and the last lines of the log."""
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        text = f"rule {self.rule} failed{code}"
        if self.unwritten:
            text += f": it did not write {', '.join(dict.fromkeys(self.unwritten))}"
        if self.log is not None and self.log.exists():
            tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            text += f"; the end of {self.log}:\n" + "\n".join(f"  {line}" for line in tail)
        return text


@dataclass
class SnakemakeLog:
    """Reads Snakemake's output as it grows."""

    path: Path
    run: str | None = None
    done: int = 0
    total: int = 0
    idle: bool = False
    failures: list[Failure] = field(default_factory=list)
    running: dict[int, str] = field(default_factory=dict)
    _targets: int = 0
    _targets_done: int = 0
    _rule: str = ""
    _job: int = -1
    _offset: int = 0
    _exit_code: int | None = None
    _open: Failure | None = None
    _announced: bool = False
    _bars: list[str] = field(default_factory=list)

    def update(self) -> None:
        """Read what was written since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        end = text.rfind(b"\n") + 1  # the last line may be half written
        self._offset += end
        for line in text[:end].decode("utf-8", errors="replace").splitlines():
            self._read(line)

    def _is_shown_log(self, line: str) -> bool:
        """Return whether a line belongs to a failed job's log, which Snakemake repeats.

        A cluster job's log is the output of another Snakemake and may repeat logs in its turn.
        """
        if SUBMITTED.match(line):
            self._bars.clear()  # a log that was cut short has lost its closing bar
        if BAR.match(line):
            if self._announced:
                self._bars.append(line)
            elif self._bars and self._bars[-1] == line:
                self._bars.pop()
            self._announced = False
            return True
        self._announced = bool(SHOWN.match(line))
        return self._announced or bool(self._bars)

    def _read(self, line: str) -> None:
        if self._is_shown_log(line):
            return
        if match := START.match(line):
            self._rule, self._open = match[1], None
        elif match := JOB.match(line):
            self._job = int(match[1])
            if self._open is None:
                self.running[self._job] = self._rule
            else:  # the block of a failed job
                self._end(self._job)
                self._open.job = self._job
        elif match := WILDCARDS.match(line):
            values = " ".join(card.split("=", 1)[1] for card in match[1].split(", "))
            self.running[self._job] = f"{self._rule} {values}"
        elif match := FINISHED.match(line):
            self._end(int(match[1]))
            self._targets_done += match[2] in TARGETS
        elif match := INCOMPLETE.match(line):
            self.running.pop(int(match[1]), None)
        elif match := STEPS.match(line):
            self.total = int(match[2]) - self._targets
            self.done = int(match[1]) - self._targets_done
        elif match := RUN.match(line):
            self.run = match[1]
        elif match := TOTAL.match(line):
            self.total = int(match[1]) - self._targets
        elif TARGET.match(line):
            self._targets += 1
        elif line.startswith("Nothing to be done"):
            self.idle = True
        elif match := EXIT.search(line):
            self._exit_code = int(match[1])
        elif match := UNWRITTEN.match(line):
            self._open = Failure(match[1])
            self.failures.append(self._open)
        elif self._open is not None and (match := MISSING.match(line)):
            self._open.unwritten.append(match[1])
        elif match := ERROR.match(line):
            self._open = Failure(match[1], exit_code=self._exit_code)
            self._exit_code = None
            self.failures.append(self._open)
        elif self._open is not None and (match := LOG.match(line)):
            self._open.log, self._open = Path(match[1]), None

    def _end(self, job: int) -> None:
        """Forget what was said of earlier attempts of a job that has ended again."""
        self.running.pop(job, None)
        self.failures = [failure for failure in self.failures if failure.job != job]
