"""One small real run, tracked, pushed and committed once per session; clones of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import SMALL, Repository, begin, clone


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which the run was made, and nothing tracked yet."""
    repository = begin(tmp_path_factory.mktemp("made") / "a repository")
    repository.snakemake("all", "--cores", "2", "--configfile", SMALL)
    return repository


@pytest.fixture(scope="session")
def times(made: Repository) -> dict[Path, int]:
    """The mtimes of the run's files as the run left them."""
    files = [path for path in (made.path / "results").rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="session")
def said(made: Repository, times: dict[Path, int]) -> str:
    """What the first `track` said."""
    return made.slimgen("track", "--configfile", SMALL)


@pytest.fixture(scope="session")
def origin(made: Repository, said: str) -> Repository:
    """The repository with the run tracked, pushed to the remote inside it, and committed."""
    made.dvc("push")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "the small run")
    return made


@pytest.fixture
def bare(origin: Repository, tmp_path: Path) -> Repository:
    """A fresh clone without any pull."""
    return clone(origin, tmp_path / "a clone")


@pytest.fixture(scope="module")
def whole(origin: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A clone with everything pulled; a test that changes it puts it back."""
    repository = clone(origin, tmp_path_factory.mktemp("whole") / "a clone")
    repository.dvc("pull")
    return repository
