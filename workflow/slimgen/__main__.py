"""Command line: `python -m slimgen SYSTEM.STAGE --settings JSON --out DIR --NAME PATH ...`.

Every stage of the workflow runs and debugs by hand through this door, without Snakemake. Beside the
stages there are the commands that `--help` lists.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import resource
import sys
import textwrap
import time
from pathlib import Path

from slimgen.config.base import StageSettings
from slimgen.config.paths import named_weights
from slimgen.config.run import STAGES, ConfigError, parse_settings, read_config, stage_settings
from slimgen.stage_command import (
    begin,
    check_exist,
    collapse,
    default_state,
    describe_inputs,
    find_stage,
    finish,
    input_digest,
    parse_inputs,
    run_share,
)
from slimgen.tracking.code_digest import code_digest
from slimgen.training.faults import check_writable, disk_fault, faults_in_one_line
from slimgen.training.job import EXIT_STOPPED, Job, StageError, Stopped, describe
from slimgen.training.launch import PARALLEL, is_launched, launch

COMMANDS = f"""\
The whole workflow:
  run [SNAKEMAKE OPTIONS]   run it and show how far it is, e.g. run all --cores 2 --configfile FILE
  status [--run NAME]       how far a run is
  check FILE ...            what is wrong with config files
  published                 tables and figures of the published run anew, without any training
  track --configfile FILE   store a finished run: weights to DVC, records and tables to git
  verify [--run NAME]       whether the files of tracked runs are those that were tracked
  sample --model FOLDER --out FILE.png   look at what a saved model makes
  schema                    write config/schema.json anew

One stage by hand:
{textwrap.fill(", ".join(STAGES), 98, initial_indent="  ", subsequent_indent="  ")}
"""

# Commands that read files only: each a function of the words after it that returns the exit code.
COMMAND = {
    "run": "slimgen.tracking.watch.watch",
    "status": "slimgen.tracking.status.show_status",
    "published": "slimgen.tracking.published.published_command",
    "track": "slimgen.tracking.track.track_command",
    "verify": "slimgen.tracking.verify.verify_command",
    "schema": "slimgen.config.schema.write_schema",
    "check": "slimgen.config.check.check_files",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the options that every stage has."""
    parser = argparse.ArgumentParser(
        prog="python -m slimgen",
        usage="%(prog)s SYSTEM.STAGE --out FOLDER [options] [--INPUT PATH ...]\n"
        "       %(prog)s run|status|check|published|track|verify|sample|schema ...",
        description=COMMANDS,
        epilog="`SYSTEM.STAGE --help` also lists the stage's inputs: "
        "each is an option of its own, for example --teacher FOLDER.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="SYSTEM.STAGE", choices=list(STAGES))
    parser.add_argument(
        "--settings", default="{}", help="the stage's settings that differ from the defaults, JSON"
    )
    parser.add_argument(
        "--config", type=Path, help="take the settings from this config file instead"
    )
    parser.add_argument("--variant", help="with --config: the variant of the stage")
    parser.add_argument(
        "--out", type=Path, nargs="+", required=True, help="folder of the outputs, or all its files"
    )
    parser.add_argument(
        "--state", type=Path, help="folder of the resumable state (default: runs/...)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--gpus", type=int, default=1, help="processes, one per GPU, that share every batch"
    )
    parser.add_argument(
        "--budget-minutes", type=float, help="save and exit 75 when this time is spent"
    )
    return parser


def find_device(name: str) -> str:
    """Return the torch device meant by `auto`: a GPU where there is one."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def read_settings(known: argparse.Namespace) -> StageSettings:
    """Return the settings of the stage, from the command line or from a config file.

    Raises ConfigError naming what is missing or wrong.
    """
    if known.config is None:
        return parse_settings(known.stage, known.settings)
    config = read_config(known.config)
    variant = known.variant or config.dataset
    try:
        return stage_settings(config, known.stage, variant)
    except KeyError:
        raise ConfigError(f"{known.config}: {known.stage} has no variant {variant!r}") from None


def run_stage(argv: list[str]) -> None:
    """Parse the command line, run the stage, write its settings and logs, delete its state."""
    parser = make_parser()
    if len(argv) > 1 and argv[0] in STAGES and {"-h", "--help"} & set(argv[1:]):
        parser.epilog = describe_inputs(argv[0])
    known, rest = parser.parse_known_args(argv)
    if known.gpus > 1 and known.stage in PARALLEL and not is_launched():
        sys.exit(launch(argv, known.gpus))
    settings, out = read_settings(known), collapse("out", known.out)
    # One thread, as in the rules, for the same bits; torch reads this when it is imported.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    module, function = find_stage(known.stage)
    inputs = parse_inputs(parser, function, rest)
    code = code_digest(module.__name__)
    check_exist(inputs)
    places = {name: collapse(name, paths) for name, paths in inputs.items()}
    seen = {name: input_digest(paths) for name, paths in inputs.items()}
    complete = settings.model_dump(mode="json", by_alias=True)
    seen["weights named in the settings"] = input_digest(named_weights(settings))
    identity = {"settings": settings.decisive(), "inputs": seen, "code": code, "seed": known.seed}
    minutes = known.budget_minutes
    job = Job(
        stage=known.stage,
        out=out,
        state=known.state or default_state(out),
        seed=known.seed,
        device=find_device(known.device),
        fingerprint=hashlib.sha256(describe(identity).encode()).hexdigest(),
        code=code,
        deadline=None if minutes is None else time.monotonic() + 60 * minutes,
    )
    check_writable(job.out, job.state)
    job.install_signals()
    with faults_in_one_line(job, complete.get("batch_size")):
        if is_launched():
            run_share(job, function, settings, complete, places)
            return
        with job.locked():
            if not begin(job):
                return
            function(settings, job, **places)
            finish(job, complete)
    cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])  # user and system
    print(f"{job.stage}: done, {cpu:.1f} CPU-seconds since this start", file=sys.stderr)


def render_page(page: str, argv: list[str]) -> None:
    """Parse the command line of a page of the results and render it."""
    from slimgen.render.command import render

    parser = argparse.ArgumentParser(prog=f"python -m slimgen render.{page}")
    parser.add_argument(
        "--settings", required=True, help="JSON: run, dataset, seeds, systems, tables"
    )
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="receives tables/ and figures/")
    known = parser.parse_args(argv)
    render(page, known.settings, known.results, known.out)


def run_command(argv: list[str]) -> int:
    """Run a stage or another command; return the exit code. `status` must not import torch."""
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command in COMMAND:
        module, function = COMMAND[command].rsplit(".", 1)
        return getattr(importlib.import_module(module), function)(rest)
    if command == "sample":
        from slimgen.evaluation.sample import sample

        sample(rest, find_device("auto"))
        return 0
    if command.startswith("render."):
        render_page(command.removeprefix("render."), rest)
        return 0
    run_stage(argv)
    return 0


def main() -> None:
    """Run, and turn the project's own errors into one line and an exit code."""
    try:
        sys.exit(run_command(sys.argv[1:]))
    except (ConfigError, StageError) as error:
        print(f"slimgen: {error}", file=sys.stderr)
        sys.exit(1)
    except Stopped as stop:
        print(f"slimgen: stopped ({stop.reason}); start it again to go on", file=sys.stderr)
        sys.exit(EXIT_STOPPED)
    except Exception as error:
        if (fault := disk_fault(error)) is None:
            raise
        sys.exit(f"slimgen: {fault}: make room and start again")


def run_process() -> None:
    """Run, and end a good run without taking torch's modules apart: a second of every job."""
    try:
        main()
    except SystemExit as end:
        if end.code or "torch" not in sys.modules:
            raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    run_process()
