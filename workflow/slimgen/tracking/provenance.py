"""Snakemake's records of a tracked run, kept in git: `provenance/{run}/.../seed0.json`, one a job.

A clone lacks `.snakemake/metadata`, so Snakemake would take every file for outdated; with the
records restored it knows settings and sha256 sums of all inputs, whatever the mtimes. A file holds
the fields that the job's outputs share, and for each output its times and, for weights and arrays,
its md5. Its name is that of the job's log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgen.data.files import find_below, write_text
from slimgen.tracking.snakemake_records import HOME, METADATA, RESTORED, restore_record
from slimgen.training.job import StageError

FOLDER = Path("provenance")
PER_OUTPUT = ("starttime", "endtime")
PASSING = (*PER_OUTPUT, "job_hash")  # another time, the same result


@dataclass(frozen=True)
class JobRecord:
    """What Snakemake recorded of one job; `outputs` maps each output to what is its own."""

    path: Path
    record: dict[str, Any]
    outputs: dict[str, dict[str, Any]]

    @property
    def inputs(self) -> dict[str, str]:
        """Return the sha256 sums of the inputs that the job read."""
        sums = self.record.get("input_checksums") or {}
        return {name: value.removeprefix("sha256:") for name, value in sums.items()}

    def complete(self, output: str) -> dict[str, Any]:
        """Return the record of one output as Snakemake had it."""
        times = {key: self.outputs[output].get(key) for key in PER_OUTPUT}
        return self.record | times

    def lasting(self) -> dict[str, Any]:
        """Return what must be equal for two records to say the same."""
        record = {key: value for key, value in self.record.items() if key not in PASSING}
        outputs = {name: own.get("md5") for name, own in self.outputs.items()}
        return {"record": record, "outputs": outputs}


def collect(
    run: str, records: dict[str, dict[str, Any]], md5s: dict[str, str], root: Path = FOLDER
) -> list[JobRecord]:
    """Gather Snakemake's records of outputs into those of jobs; `md5s` are those of weights.

    Raises StageError where two outputs of one job have different records.
    """
    jobs: dict[Path, JobRecord] = {}
    for output, record in sorted(records.items()):
        log = Path(record["log"][0])
        path = root / run / log.relative_to(Path("logs", run)).with_suffix(".json")
        shared = {k: v for k, v in record.items() if k not in (*PER_OUTPUT, RESTORED)}
        job = jobs.setdefault(path, JobRecord(path, shared, {}))
        if {**job.record, "job_hash": 0} != {**shared, "job_hash": 0}:
            raise StageError(
                f"{output}: recorded otherwise than {next(iter(job.outputs))}, though one job "
                "writes both; run that job again"
            )
        own = {key: record.get(key) for key in PER_OUTPUT}
        job.outputs[output] = own | ({"md5": md5s[output]} if output in md5s else {})
    return list(jobs.values())


def read_job(path: Path) -> JobRecord:
    """Read one file of provenance.

    Raises StageError naming the file where it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return JobRecord(path, dict(content["record"]), dict(content["outputs"]))
    except (ValueError, KeyError, TypeError):
        raise StageError(
            f"{path}: not a record of provenance; `git checkout -- {path}` brings it back"
        ) from None


def read_jobs(run: str, root: Path = FOLDER) -> Iterator[JobRecord]:
    """Yield what was recorded of each job of a tracked run."""
    for path in find_below(root / run, "*.json"):
        yield read_job(path)


def write_jobs(jobs: Iterable[JobRecord]) -> tuple[list[Path], list[Path]]:
    """Write records that say something new; return the files added and those changed.

    Outputs that are not here (a partial pull) keep what was recorded of them.
    """
    added: list[Path] = []
    changed: list[Path] = []
    for job in jobs:
        old = read_job(job.path) if job.path.exists() else None
        outputs = (old.outputs if old else {}) | job.outputs
        new = JobRecord(job.path, job.record, dict(sorted(outputs.items())))
        if old is None or old.lasting() != new.lasting():
            content = {"record": new.record, "outputs": new.outputs}
            write_text(job.path, json.dumps(content, indent=1, sort_keys=True) + "\n")
            (added if old is None else changed).append(job.path)
    return added, changed


def restore_records(run: str, root: Path = Path()) -> int:
    """Give Snakemake the records of a tracked run that it lacks; return how many were written."""
    jobs = list(read_jobs(run, root / FOLDER))
    if not jobs:
        return 0
    metadata = root / METADATA
    metadata.mkdir(parents=True, exist_ok=True)
    # Without this folder Snakemake would take the records for those of an old version.
    (root / HOME / "incomplete").mkdir(exist_ok=True)
    return sum(
        restore_record(output, job.complete(output), metadata)
        for job in jobs
        for output in job.outputs
    )
