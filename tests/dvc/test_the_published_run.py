"""The run that comes with the repository: whole, small enough, rendered anew by a fresh clone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository import ROOT, Repository, clone, cpu_seconds, rules_run

from slimgen.config.run import read_config
from slimgen.tracking.plan import pages, planned_jobs
from slimgen.tracking.pointers import read_pointer
from slimgen.tracking.provenance import read_jobs
from slimgen.tracking.status import page_outputs

RUN = Path("results", "published")
STORE = Path(".dvc", "store")
MEGABYTES = 25

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("published"),
    pytest.mark.skipif(
        not (ROOT / RUN).is_dir(), reason="the published run is not in this repository yet"
    ),
]


def test_every_job_and_page_is_there() -> None:
    config = read_config(ROOT / "config" / "published.yaml")
    folder = ROOT / "provenance"
    recorded = {
        str(job.path.relative_to(folder / "published")) for job in read_jobs("published", folder)
    }
    assert recorded == {
        *(f"{job.folder}.json" for job in planned_jobs(config)),
        *(f"render/{page}.json" for page in pages(config)),
    }
    for page in pages(config):
        for file in page_outputs(page):
            assert (ROOT / RUN / file).exists(), file


def test_the_remote_inside_the_repository_has_every_pointer_and_is_small() -> None:
    pointers = [read_pointer(path) for path in (ROOT / RUN).rglob("*.dvc")]
    wanted = {pointer.stored_in(ROOT / STORE) for pointer in pointers}
    there = {path for path in (ROOT / STORE).rglob("*") if path.is_file()}
    assert there == wanted
    assert sum(path.stat().st_size for path in there) <= MEGABYTES * 1e6


def test_a_fresh_clone_pulls_and_renders_it_anew(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    fresh = clone(Repository(ROOT), tmp_path / "a clone")
    pictures = sorted((fresh.path / RUN / "figures").glob("*.png"))
    before = {path: np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in pictures}
    assert before
    began = cpu_seconds()
    fresh.dvc("pull")
    assert fresh.pulled() == fresh.pointers() != {}
    for name in ("tables", "figures"):
        shutil.rmtree(fresh.path / RUN / name)
    rules = rules_run(fresh.slimgen("published", "--configfile", "config/published.yaml"))
    took = cpu_seconds() - began
    config = read_config(ROOT / "config" / "published.yaml")
    assert rules == sorted(["tables", "figures", *(f"render_{page}" for page in pages(config))])
    # Tables byte for byte; figures pixel by pixel (another font library moves an edge).
    changed = fresh.git("diff", "--name-only").split()
    assert [name for name in changed if "/figures/" not in name] == []
    for path, old in before.items():
        new = np.asarray(Image.open(path).convert("RGB"), dtype=int)
        assert new.shape == old.shape
        assert abs(new - old).mean() < 1.0, path.name
    assert took < 60
    assert fresh.plan("--configfile", "config/published.yaml") == set()
