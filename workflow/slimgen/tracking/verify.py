"""`python -m slimgen verify [--run NAME]`: are the files of a tracked run those that were tracked?

Every byte is read; neither mtimes nor DVC's own memory of them count, so bytes altered under an old
mtime are found. Compared are: weights and arrays with their `.dvc` pointers, everything that a job
read with the sha256 sums in `provenance/`, the model digests in records with the models that were
measured, the objects in DVC's cache and in a remote inside the repository with their names. What is
not pulled is no fault. Each fault is one line with the command that mends it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slimgen.data.files import digest
from slimgen.evaluation.record import RecordError, read_records
from slimgen.tracking.pointers import (
    Pointer,
    cache_folder,
    folder_inside,
    is_stored,
    read_pointer,
    read_remotes,
)
from slimgen.tracking.provenance import FOLDER, JobRecord, read_jobs
from slimgen.tracking.snakemake_records import METADATA, RESTORED, read_record
from slimgen.training.job import StageError


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was tracked, and the command that mends it."""

    path: Path
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; mend: {self.mend}"


@dataclass
class TrackedRun:
    """The provenance of a run and its pointers; digests are computed once."""

    name: str
    jobs: list[JobRecord]
    pointers: dict[Path, Pointer]
    cache: Path
    seen: dict[tuple[Path, str], str] = field(default_factory=dict)

    def digest(self, path: Path, algorithm: str) -> str:
        """Return the digest of a file's bytes."""
        key = (path, algorithm)
        if key not in self.seen:
            self.seen[key] = digest(path, algorithm)
        return self.seen[key]

    @property
    def made(self) -> dict[Path, str | None]:
        """Return every output of the run's jobs, with its md5 where it is weights or arrays."""
        return {Path(o): own.get("md5") for job in self.jobs for o, own in job.outputs.items()}


def read_run(name: str) -> TrackedRun:
    """Read provenance and pointers of a tracked run."""
    found = sorted(Path("results", name).rglob("*.dvc"))
    pointers = {pointer.file: pointer for pointer in map(read_pointer, found)}
    return TrackedRun(name, list(read_jobs(name)), pointers, cache_folder())


def check_pointers(run: TrackedRun) -> Iterator[Fault]:
    """Yield pointers of other versions and files that are not what their pointers name."""
    made = run.made
    for file, pointer in run.pointers.items():
        if made.get(file, pointer.md5) != pointer.md5:
            yield Fault(
                pointer.path,
                f"names md5 {pointer.md5}, but the run made {made[file]}: of another version",
                f"git checkout -- {pointer.path} {FOLDER / run.name}",
            )
        elif file.exists() and run.digest(file, "md5") != pointer.md5:
            yield Fault(
                file,
                f"its bytes are not those of {pointer.path}",
                f"rm {file} && dvc pull {pointer.path}",
            )
    for file, md5 in made.items():
        if md5 and file not in run.pointers and file.exists() and run.digest(file, "md5") != md5:
            yield Fault(file, "not the bytes that were tracked", "run it again, or delete it")


def check_visible(run: TrackedRun) -> Iterator[Fault]:
    """Yield pointers that git ignores: DVC does not see them and says that all is up to date."""
    names = "\n".join(str(pointer.path) for pointer in run.pointers.values())
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        input=names,
        capture_output=True,
        text=True,
        check=False,
    )
    for name in done.stdout.splitlines():
        yield Fault(Path(name), "ignored by git, so DVC does not see it", "correct .gitignore")


def check_inputs(run: TrackedRun) -> Iterator[Fault]:
    """Yield files that a job read with other bytes than they have now, or that git should have."""
    expected: dict[Path, dict[str, JobRecord]] = {}
    for job in run.jobs:
        for name, sha256 in job.inputs.items():
            expected.setdefault(Path(name), {}).setdefault(sha256, job)
    for path, sums in expected.items():
        if len(sums) > 1:
            one, other = (job.path.stem for job in list(sums.values())[:2])
            yield Fault(path, f"{one} and {other} read different bytes", "run the run again")
        here = path.is_file() and path not in run.pointers
        if here and run.digest(path, "sha256") not in sums:
            mend = f"git checkout -- {path}, or run what follows from it again and track"
            yield Fault(path, "not the bytes that the run read", mend)
    for path in run.made:
        if not is_stored(str(path)) and not path.exists():
            yield Fault(path, "missing", f"git checkout -- {path}")


def check_records(run: TrackedRun) -> Iterator[Fault]:
    """Yield records that measured another model than their job was given."""
    made = run.made
    for job in run.jobs:
        models = {made.get(Path(name)) for name in job.inputs} - {None}
        for output in job.outputs:
            path = Path(output)
            if path.name != "records.json" or not path.exists() or not models:
                continue
            try:
                measured = {record.model_md5 for record in read_records(path)} - {None}
            except RecordError as error:
                yield Fault(path, str(error), f"git checkout -- {path}")
                continue
            for md5 in measured - models:
                yield Fault(
                    path,
                    f"measured a model with md5 {md5}, which its job was not given",
                    f"git checkout -- {path}",
                )


def check_objects(run: TrackedRun) -> Iterator[Fault]:
    """Yield damaged objects in DVC's cache and in remotes inside the repository.

    Where there are no other remotes, what lies in none is missing: nobody could pull it.
    """
    urls, _ = read_remotes()
    folders = {name: folder_inside(url) for name, url in urls.items()}
    inside = {name: folder for name, folder in folders.items() if folder is not None}
    for pointer in run.pointers.values():
        kept = pointer.stored_in(run.cache)
        if kept.exists() and run.digest(kept, "md5") != pointer.md5:
            mend = f"rm -f {shlex.quote(str(kept))} && dvc fetch {pointer.path}"
            yield Fault(kept, f"damaged copy of {pointer.file} in DVC's cache", mend)
        pushed = {name: pointer.stored_in(folder) for name, folder in inside.items()}
        for name, path in pushed.items():
            if path.exists() and run.digest(path, "md5") != pointer.md5:
                what = f"damaged copy of {pointer.file} in the remote `{name}`"
                yield Fault(path, what, f"git checkout -- {path}")
        if pushed and inside == folders and not any(path.exists() for path in pushed.values()):
            mend = f"dvc push {pointer.path}, or git checkout -- {next(iter(pushed.values()))}"
            yield Fault(pointer.file, f"not in {' or '.join(pushed)}: cannot be pulled", mend)


def check_local_records(run: TrackedRun) -> Iterator[Fault]:
    """Yield outputs of which Snakemake has a record of its own that says something else."""
    if not METADATA.exists():
        return
    for job in run.jobs:
        for output in job.outputs:
            local = read_record(output)
            if local is None or RESTORED in local:
                continue
            if any(local.get(k) != job.record.get(k) for k in ("params", "input_checksums")):
                yield Fault(
                    Path(output),
                    "was made anew in this folder since it was tracked",
                    f"make track; or, with the tracked files back from git and DVC: "
                    f"snakemake --cleanup-metadata {output}",
                )


def find_faults(run: TrackedRun) -> list[Fault]:
    """Return every fault of a tracked run."""
    checks = (
        check_pointers,
        check_visible,
        check_inputs,
        check_records,
        check_objects,
        check_local_records,
    )
    return [fault for check in checks for fault in check(run)]


def tracked_runs() -> list[str]:
    """Return the names of the runs that have provenance."""
    return sorted(path.name for path in FOLDER.glob("*/"))


def verify(names: Iterable[str]) -> list[Fault]:
    """Check tracked runs and print what was found; return the faults."""
    faults: list[Fault] = []
    for name in names:
        run = read_run(name)
        found = find_faults(run)
        here = sum(file.exists() for file in run.pointers)
        print(
            f"{name}: {here} of {len(run.pointers)} files pulled, {len(run.jobs)} jobs recorded, "
            f"{len(found)} faults"
        )
        for fault in found:
            print(f"  {fault}")
        faults += found
    return faults


def verify_command(argv: list[str]) -> int:
    """Parse the command line and verify; return the exit code: 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m slimgen verify", description=__doc__)
    parser.add_argument("--run", help="name of a tracked run; default: every one")
    known = parser.parse_args(argv)
    names = tracked_runs()
    if not names:
        raise StageError(f"verify: no run is tracked here ({FOLDER}/ has none); make track does it")
    if known.run is not None and known.run not in names:
        raise StageError(f"--run {known.run}: not tracked; there are {', '.join(names)}")
    return 1 if verify([known.run] if known.run else names) else 0
