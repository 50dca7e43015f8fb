"""Copies of the checkout in which the real Snakefile runs with stand-ins for the stages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = "tests/workflow/smoke.yaml"


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository whose stages are stand-ins; commands run in it."""

    path: Path

    def environment(self, **more: str) -> dict[str, str]:
        # The copy's package goes before the installed one.
        return os.environ | {"PYTHONPATH": str(self.path / "workflow"), "NO_COLOR": "1"} | more

    def snakemake(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Snakemake; targets stand before options."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-3000:]
        return done

    def plan(self, *options: str, targets: tuple[str, ...] = ("all",)) -> set[str]:
        """Return the jobs of a dry run as `rule` or `rule system/variant` (seed 0) and so on."""
        done = self.snakemake(*targets, "-n", *(options or ("--configfile", SMOKE)))
        return planned(done.stdout)


def slimgen(checkout: Checkout, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m slimgen` in a copy of the checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", "slimgen", *words],
        cwd=checkout.path,
        env=checkout.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def data_alone(run: str) -> list[str]:
    """Return the arguments of a start that only prepares the data of a run."""
    target = f"results/{run}/data/prepare/digits/manifest.json"
    return [target, "--cores", "1", "--configfile", SMOKE, "--config", f"run={run}"]


def planned(output: str) -> set[str]:
    """Read the jobs off Snakemake's dry run."""
    jobs, rule = set(), ""
    for line in output.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):", line):
            rule = match[1]
            jobs.add(rule)
        elif match := re.match(r"    wildcards: (.*)", line):
            cards = dict(card.split("=") for card in match[1].split(", "))
            jobs.discard(rule)
            seed = cards.pop("seed", "0")
            name = "/".join(cards[key] for key in ("system", "row", "variant") if key in cards)
            suffix = "" if seed == "0" else f" seed{seed}"
            jobs.add(f"{rule} {name}".strip() + suffix)
    return jobs - {"all"}


def copy_checkout(path: Path, *, stand_in: bool = True) -> Checkout:
    """Copy what a run needs; put the stand-in where the stages' command line was, if asked."""
    path.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("rules", "config", "workflow", "tests/workflow"):
        shutil.copytree(ROOT / name, path / name, ignore=ignore)
    (path / "envs").mkdir()
    shutil.copy(ROOT / "envs" / "slimgen.yaml", path / "envs")
    shutil.copy(ROOT / "Snakefile", path)
    (path / "profiles").symlink_to("workflow/profiles")
    if not stand_in:
        return Checkout(path)
    package = path / "workflow" / "slimgen"
    (package / "__main__.py").rename(package / "real_main.py")
    shutil.copy(ROOT / "tests" / "workflow" / "stand_in.py", package / "__main__.py")
    return Checkout(path)
