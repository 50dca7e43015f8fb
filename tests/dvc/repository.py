"""Scratch repositories with git, DVC and the real Snakefile, for the tests of tracking."""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from checkout import ROOT, Checkout, copy_checkout

SMALL = "small.yaml"
RULE = re.compile(r"^(?:local)?rule (\w+):", re.M)


@dataclass(frozen=True)
class Repository(Checkout):
    """A repository in a path with a space; commands run in it, away from the user's settings."""

    def environment(self, **more: str) -> dict[str, str]:
        scratch = self.path.parent
        own = super().environment()["PYTHONPATH"]
        return super().environment(
            PYTHONPATH=os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])]),
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            DVC_SITE_CACHE_DIR=str(scratch / "dvc site"),
            DVC_GLOBAL_CONFIG_DIR=str(scratch / "dvc global"),
            DVC_SYSTEM_CONFIG_DIR=str(scratch / "dvc system"),
            GIT_CONFIG_GLOBAL="/dev/null",
            GIT_CONFIG_SYSTEM="/dev/null",
            **{f"GIT_{who}_NAME": "a tester" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "tester@example.org" for who in ("AUTHOR", "COMMITTER")},
            **more,
        )

    def do(self, *words: str, code: int = 0) -> str:
        """Run a command; return all that it said."""
        done = subprocess.run(
            words,
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def slimgen(self, *words: str, code: int = 0) -> str:
        return self.do(sys.executable, "-m", "slimgen", *words, code=code)

    def git(self, *words: str) -> str:
        return self.do("git", *words)

    def dvc(self, *words: str, code: int = 0) -> str:
        return self.do(sys.executable, "-m", "dvc", *words, code=code)

    def small_plan(self) -> set[str]:
        return self.plan("--configfile", SMALL)

    def pointers(self) -> dict[Path, str]:
        """Return the md5 that each committed pointer names."""
        names = self.git("ls-files", "*.dvc").splitlines()
        return {
            Path(name).with_suffix(""): yaml.safe_load((self.path / name).read_text())["outs"][0][
                "md5"
            ]
            for name in names
        }

    def pulled(self) -> dict[Path, str]:
        """Return the md5 of each file that is here and has a pointer."""
        here = [file for file in self.pointers() if (self.path / file).exists()]
        return {file: md5(self.path / file) for file in here}

    def shuffle_times(self, seed: int) -> None:
        """Give every file of the repository an mtime at random, within a month."""
        rng = random.Random(seed)
        for folder in ("results", "workflow", "provenance", "rules", "config"):
            for path in (self.path / folder).rglob("*"):
                if path.is_file():
                    when = 1.7e9 + rng.random() * 2.6e6
                    os.utime(path, (when, when))


def cpu_seconds() -> float:
    """Return the CPU-seconds of all commands so far: neighbours do not make them more."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def rules_run(output: str) -> list[str]:
    """Return the rules of the jobs that Snakemake's output says were started."""
    return sorted(RULE.findall(output))


def begin(path: Path, *, stand_in: bool = False) -> Repository:
    """Return a repository of the project's files, nothing run; its stages can be stand-ins."""
    copy_checkout(path, stand_in=stand_in)
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, path / name)
    shutil.copy(ROOT / "tests" / "dvc" / SMALL, path)
    repository = Repository(path)
    repository.git("init", "--quiet", "--initial-branch", "main")
    return repository


def clone(origin: Repository, path: Path) -> Repository:
    """Return a fresh clone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    origin.git("clone", "--quiet", str(origin.path), str(path))
    return Repository(path)
