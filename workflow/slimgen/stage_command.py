"""One stage from its command line: its inputs, its run as one process or as one of several."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from slimgen.config.base import StageSettings
from slimgen.data.files import digest, remove_leftovers, write_json
from slimgen.tracking.plan import stage_module
from slimgen.tracking.pointers import read_pointer
from slimgen.training.imports import import_to_stay
from slimgen.training.job import Job, StageError


def check_exist(inputs: dict[str, list[Path]]) -> None:
    """Raise StageError naming the first input file that is missing."""
    for name, paths in inputs.items():
        for path in paths:
            if not path.exists():
                raise StageError(f"--{name}: {path} does not exist")


def collapse(name: str, paths: list[Path]) -> Path:
    """Return the one path meant by several files: their folder (a saved model is two files)."""
    if len(paths) == 1:
        return paths[0]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        names = ", ".join(sorted(map(str, folders)))
        raise StageError(f"--{name}: the files lie in different folders: {names}")
    return folders.pop()


def input_digest(paths: list[Path]) -> str:
    """Return a digest over the names and bytes of the input files (of a folder: all its files)."""
    sha = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            sha.update(f"{file.name} {digest(file)}\n".encode())
    return sha.hexdigest()


def default_state(out: Path) -> Path:
    """Return the state folder of an output folder: results/RUN/... -> runs/RUN/..."""
    parts = out.parts
    if "results" in parts:
        at = len(parts) - 1 - parts[::-1].index("results")
        return Path(*parts[:at], "runs", *parts[at + 1 :])
    return out.with_name(out.name + ".state")


def begin(job: Job) -> bool:
    """Open the state of a job that holds its lock; return whether there is anything to compute."""
    if job.take_back():
        return False
    job.open_state()
    remove_leftovers(job.out)
    remove_leftovers(job.state)
    return True


def run_share(
    job: Job,
    function: Any,
    settings: StageSettings,
    complete: dict[str, Any],
    places: dict[str, Path],
) -> None:
    """Run one of several processes of a stage; the first holds the lock and keeps the outputs."""
    from slimgen.training.processes import any_of, joined, rank, wait

    with joined(job.device) as device, ExitStack() as stack:
        job.device = device
        finished = False
        if rank() == 0:
            stack.enter_context(job.locked())
            finished = not begin(job)
            job.out.mkdir(parents=True, exist_ok=True)
        else:
            job.out = Path(stack.enter_context(TemporaryDirectory()))
        if any_of(finished)[0]:
            return
        function(settings, job, **places)
        wait()
        if rank() == 0:
            finish(job, complete)


def find_stage(stage: str) -> tuple[ModuleType, Any]:
    """Return the module of a stage and its function."""
    module = import_to_stay(stage_module(stage))
    return module, getattr(module, stage.split(".")[1])


def keywords_of(function: Any) -> dict[str, inspect.Parameter]:
    """Return the keyword-only arguments of a stage's function: its inputs."""
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def describe_inputs(stage: str) -> str:
    """Return what `--help` says of a stage: what it does, and its inputs."""
    function = find_stage(stage)[1]
    needed = inspect.Parameter.empty
    inputs = [
        f"--{name} PATH" if parameter.default is needed else f"[--{name} PATH]"
        for name, parameter in keywords_of(function).items()
    ]
    return f"{stage}: {inspect.getdoc(function)}\n\nIts inputs: {' '.join(inputs) or 'none'}"


def parse_inputs(
    parser: argparse.ArgumentParser, function: Any, rest: list[str]
) -> dict[str, list[Path]]:
    """Parse the stage's own inputs: the keyword-only arguments of its function.

    An option without a path (a rule's optional input that this variant does not have) is not given.
    """
    keywords = keywords_of(function)
    inputs = argparse.ArgumentParser(prog=parser.prog, add_help=False)
    for name in keywords:
        inputs.add_argument(f"--{name}", type=Path, nargs="*", default=[])
    values = vars(inputs.parse_args(rest))
    for name, parameter in keywords.items():
        if parameter.default is inspect.Parameter.empty and not values[name]:
            inputs.error(f"--{name} is needed")
    return {name: paths for name, paths in values.items() if paths}


def retire_pointers(folder: Path) -> None:
    """Remove the `.dvc` files that do not name the bytes beside them, which a job has just made.

    The pages would refuse what is measured of them; `make track` writes new ones.
    """
    for path in folder.glob("*.dvc"):
        file = path.with_suffix("")
        with suppress(StageError):  # a damaged pointer names nothing
            if not file.exists() or read_pointer(path).md5 == digest(file, "md5"):
                continue
        path.unlink()


def finish(job: Job, settings: dict[str, Any]) -> None:
    """Move the logs beside the outputs, write settings.json, delete the state."""
    ran = {"stage": job.stage, "seed": job.seed, "code": job.code, "settings": settings}
    write_json(job.out / "settings.json", ran)
    for old in job.out.glob("events.out.tfevents.*"):
        old.unlink()
    for path in [*job.state.glob("log.jsonl"), *job.state.glob("events.out.tfevents.*")]:
        shutil.copyfile(path, job.out / path.name)
    retire_pointers(job.out)
    job.close_state()
