"""`python -m slimgen track --configfile FILE`: a finished run's bytes to DVC, the rest to git.

Outside the graph (as a rule it would plan a training in a bare clone). It asks Snakemake for the
declared outputs, hands weights and arrays to one `dvc add`, file by file, puts their mtimes back,
exports Snakemake's records of exactly these outputs to `provenance/`, and writes the run's
`.gitignore`, which lets git see the text files and images. A second call changes nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slimgen.config.run import Config, read_config
from slimgen.data.files import digest, write_text
from slimgen.tracking.pointers import (
    cache_folder,
    dvc,
    folder_inside,
    is_stored,
    pointer_path,
    read_pointer,
    read_remotes,
)
from slimgen.tracking.provenance import collect, read_jobs, write_jobs
from slimgen.tracking.snakemake_records import RESTORED, is_locked, read_record
from slimgen.training.job import StageError

SEED = re.compile(r"/seed(\d+)/")
IGNORE = (
    "# Written by `python -m slimgen track`: what git keeps of this run, beside the pointers.\n"
)
SAME_SECONDS = 2.0  # between a file's mtime and the one that Snakemake recorded
SHOWN = 8  # names of a group that are printed


@dataclass
class Tracked:
    """What tracking found and did; lists of paths."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # stored before, equal bytes
    absent: list[str] = field(default_factory=list)  # stored before, not pulled here
    missing: list[str] = field(default_factory=list)  # never stored, not here
    outdated: list[str] = field(default_factory=list)  # a run would make it anew
    altered: list[str] = field(default_factory=list)  # other bytes since the job wrote them
    undeclared: list[str] = field(default_factory=list)  # pointers of what no rule makes any more
    unstored: list[str] = field(default_factory=list)  # the config says not to store them
    text: list[str] = field(default_factory=list)
    records_added: list[Path] = field(default_factory=list)
    records_changed: list[Path] = field(default_factory=list)


def declared_outputs(configfile: Path) -> dict[str, bool]:
    """Return every output that the rules of a run declare, and whether it is up to date.

    Raises StageError with what Snakemake said where it cannot read the run.
    """
    command = [sys.executable, "-m", "snakemake", "all", "--summary", "--nolock"]
    done = subprocess.run(
        [*command, "--configfile", str(configfile)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StageError("\n".join(done.stderr.strip().splitlines()[-5:]))
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("results/")]
    return {cells[0]: cells[-1] == "no update" for cells in lines}


def choose(config: Config, outputs: dict[str, bool]) -> Tracked:
    """Sort the outputs: stored by DVC, kept by git, not here, not current."""
    found = Tracked()
    for output, current in outputs.items():
        path = Path(output)
        if path.exists() and not current:
            found.outdated.append(output)
        elif not is_stored(output):
            (found.text if path.exists() else found.missing).append(output)
        elif not is_wanted(config, output):
            if path.exists():
                found.unstored.append(output)
        elif path.exists():
            found.kept.append(output)
        elif pointer_path(path).exists():
            found.absent.append(output)
        else:
            found.missing.append(output)
    pointers = sorted(Path("results", config.run).rglob("*.dvc"))
    found.undeclared = [str(p) for p in pointers if str(p.with_suffix("")) not in outputs]
    return found


def is_wanted(config: Config, output: str) -> bool:
    """Return whether DVC is to store an output: those of all seeds and stages by default.

    A classifier's seed is no seed of the run: one of each kind serves all of them.
    """
    root = f"results/{config.run}"
    seed = None if output.startswith(f"{root}/classifier/") else SEED.search(output)
    if config.track.seeds is not None and seed and int(seed[1]) not in config.track.seeds:
        return False
    return not any(is_of(output, root, entry) for entry in config.track.without)


def is_of(output: str, root: str, entry: str) -> bool:
    """Return whether an output is of an entry of `track.without`: STAGE or STAGE/FILE."""
    stage, _, file = entry.partition("/")
    within = output.startswith(f"{root}/{stage.replace('.', '/')}/")
    return within and file in ("", Path(output).name)


def check_without(config: Config, outputs: Iterable[str]) -> None:
    """Raise StageError where `track.without` names a file that its stage does not write."""
    root = f"results/{config.run}"
    for entry in config.track.without:
        stage, _, file = entry.partition("/")
        names = {Path(output).name for output in outputs if is_of(output, root, stage)}
        if file and names and file not in names:
            raise StageError(
                f"track.without = {entry!r}: {stage} writes no such file; it can be "
                f"{', '.join(sorted(names))}"
            )


def store(found: Tracked, md5s: dict[str, str], known: set[str]) -> None:
    """Give DVC the files whose bytes it does not have, in one call; mtimes stay as they were.

    `known` are the outputs whose bytes were tracked once: their jobs took the pointers away.
    """
    cache = cache_folder()
    todo = []
    for output in list(found.kept):
        path = pointer_path(Path(output))
        old = read_pointer(path) if path.exists() else None
        if old is not None and old.md5 == md5s[output]:
            if not old.stored_in(cache).exists():
                todo.append(output)  # the cache was emptied; `dvc push` needs it
            continue
        found.kept.remove(output)
        if old is not None and was_altered(output):
            found.altered.append(output)
            continue
        todo.append(output)
        (found.changed if output in known else found.added).append(output)
    if todo:
        times = {output: Path(output).stat() for output in todo}
        dvc("add", "--quiet", *todo)
        for output, before in times.items():
            os.utime(output, ns=(before.st_atime_ns, before.st_mtime_ns))


def was_altered(output: str) -> bool:
    """Return whether bytes came into a file by another hand than that of its job.

    Nobody ran the job here (its record came from provenance), or the file is younger than the job.
    """
    record = read_record(output) or {}
    ended = record.get("endtime") or 0.0
    return RESTORED in record or abs(Path(output).stat().st_mtime - ended) > SAME_SECONDS


def write_ignore(config: Config, outputs: dict[str, bool]) -> None:
    """Write the run's `.gitignore`: every suffix that a rule declares and DVC does not store."""
    suffixes = sorted({Path(output).suffix for output in outputs if not is_stored(output)})
    text = IGNORE + "".join(f"!*{suffix}\n" for suffix in suffixes) + "report.html\n"
    path = Path("results", config.run, ".gitignore")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def track(config: Config, configfile: Path) -> Tracked:
    """Track the run of a config that was read from a file; return what was found and done.

    Raises StageError where Snakemake is at work, where DVC fails, or where records are missing.
    """
    if is_locked():
        raise StageError(
            "Snakemake is at work in this folder; track when it is done "
            f"(a killed one leaves its lock: snakemake --unlock --configfile {configfile})"
        )
    outputs = declared_outputs(configfile)
    check_without(config, outputs)
    found = choose(config, outputs)
    if not found.text:
        raise StageError(f"results/{config.run}: nothing to track; the run has made no output yet")
    stored = [*found.kept, *found.unstored]
    records = {output: read_record(output) for output in [*stored, *found.text]}
    if unknown := [output for output, record in records.items() if record is None]:
        raise StageError(
            f"{unknown[0]}: Snakemake has no record of how it was made (and of "
            f"{len(unknown) - 1} others); run it, or delete the file"
        )
    md5s = {output: digest(Path(output), "md5") for output in stored}
    known = {
        output
        for job in read_jobs(config.run)
        for output, record in job.outputs.items()
        if "md5" in record
    }
    store(found, md5s, known)
    good = {o: r for o, r in records.items() if r is not None and o not in found.altered}
    jobs = collect(config.run, good, md5s)
    found.records_added, found.records_changed = write_jobs(jobs)
    write_ignore(config, outputs)
    return found


def describe(config: Config, found: Tracked) -> str:
    """Return what tracking did, and what to do next."""
    stored = len(found.added) + len(found.changed) + len(found.kept)
    lines = [
        f"{config.run}: {stored} files in DVC, {len(found.text)} text files and images for git, "
        f"{len(found.records_added)} records of provenance added, "
        f"{len(found.records_changed)} changed"
    ]
    groups = {
        "added": found.added,
        "changed": found.changed,
        "not pulled": found.absent,
        "missing": found.missing,
        "outdated (a run would make them anew), not tracked": found.outdated,
        "altered since their job wrote them (make verify), not tracked": found.altered,
        "of no output of the run (dvc remove, and git rm its folder)": found.undeclared,
        "not to be stored (track.seeds, track.without)": found.unstored,
    }
    for title, names in groups.items():
        if names:
            lines.append(f"  {title}: {len(names)}")
            lines += [f"    {name}" for name in names[:SHOWN]]
            lines += [f"    and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    lines.append(f"next: dvc push{push_note(found)}")
    lines.append(f"then: git add results/{config.run} provenance/{config.run}, and commit")
    return "\n".join(lines)


def push_note(found: Tracked) -> str:
    """Return a warning where a plain `dvc push` copies into the repository itself."""
    urls, default = read_remotes()
    inside = folder_inside(urls[default]) if default in urls else None
    if default is None or inside is None:
        return ""
    stored = [*found.added, *found.changed, *found.kept]
    size = sum(Path(output).stat().st_size for output in stored) / 1e6
    return (
        f"  (to `{default}`, {inside}: {size:.1f} MB into this repository; elsewhere: docs/dvc.md)"
    )


def track_command(argv: list[str]) -> int:
    """Parse the command line and track; return the exit code: 1 where the run is not whole."""
    parser = argparse.ArgumentParser(prog="python -m slimgen track", description=__doc__)
    parser.add_argument("--configfile", type=Path, default=Path("config", "config.yaml"))
    configfile = parser.parse_args(argv).configfile
    config = read_config(configfile)
    found = track(config, configfile)
    print(describe(config, found))
    return 1 if found.missing or found.outdated or found.altered else 0
