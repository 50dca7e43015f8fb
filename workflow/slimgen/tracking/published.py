"""`python -m slimgen published --configfile FILE`: a tracked run's tables and figures anew.

They come from the text files that git has: no model is read, nothing is trained, measured or
fetched. A dry run comes first; where Snakemake would run anything but the render rules, this ends.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from slimgen.config.run import read_config
from slimgen.tracking.plan import pages
from slimgen.tracking.snakemake_log import RENDERED
from slimgen.tracking.watch import show_results
from slimgen.training.job import StageError

STATS = re.compile(r"^(\w+) +(\d+)$", re.M)


def render_command(configfile: Path) -> tuple[list[str], list[str]]:
    """Return the Snakemake command that renders a run anew, and the rules that it forces."""
    rules = [f"render_{page}" for page in pages(read_config(configfile))]
    command = [sys.executable, "-m", "snakemake", *RENDERED, "--configfile", str(configfile)]
    return [*command, "--forcerun", *rules], rules


def others(command: list[str], rules: list[str]) -> list[str]:
    """Return what the command would run beside the rules, as `teacher_train (3)`.

    Raises StageError with what Snakemake said where it cannot plan.
    """
    done = subprocess.run([*command, "-n"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StageError("\n".join(done.stderr.strip().splitlines()[-5:]))
    jobs = dict(STATS.findall(done.stdout + done.stderr))
    if absent := [rule for rule in rules if rule not in jobs]:  # then nothing was understood
        raise StageError(f"snakemake -n does not plan {', '.join(absent)}, though it is forced")
    known = {*rules, *RENDERED, "total"}
    return [f"{rule} ({count})" for rule, count in jobs.items() if rule not in known]


def published_command(argv: list[str]) -> int:
    """Parse the command line and render; return Snakemake's exit code.

    Raises StageError where the run is not whole.
    """
    parser = argparse.ArgumentParser(prog="python -m slimgen published", description=__doc__)
    parser.add_argument("--configfile", type=Path, default=Path("config", "published.yaml"))
    configfile = parser.parse_args(argv).configfile
    command, rules = render_command(configfile)
    if planned := others(command, rules):
        raise StageError(
            f"{configfile}: rendering would also run {', '.join(planned)}: settings or files are "
            "not those of the tracked run. `make verify` names changed files, `snakemake -n "
            f"--configfile {configfile}` the reasons"
        )
    code = subprocess.run([*command, "--cores", "all"], check=False).returncode
    if code == 0:
        show_results(read_config(configfile).run)
    return code
