"""The run that comes with the repository: whole, small enough, rendered anew by a fresh clone."""

from __future__ import annotations

import re
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
CONFIG = "config/published.yaml"
MEGABYTES = 25

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("published"),
]


def test_every_job_and_page_is_there() -> None:
    config = read_config(ROOT / CONFIG)
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


@pytest.fixture
def fresh(tmp_path: Path) -> Repository:
    """A clone of what is committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    return clone(Repository(ROOT), tmp_path / "a clone")


def pages_of(pdf: Path) -> list[bytes]:
    """Return the sizes of a PDF's pages as it writes them."""
    return re.findall(rb"/MediaBox \[[^]]*\]", pdf.read_bytes())


def test_a_bare_clone_plans_nothing_and_renders_it_anew(fresh: Repository) -> None:
    """Without any pull, whatever the mtimes."""
    assert fresh.pulled() == {}
    assert fresh.plan("--configfile", CONFIG) == set()
    fresh.shuffle_times(seed=0)
    assert fresh.plan("--configfile", CONFIG) == set()
    rules = rules_run(fresh.slimgen("published", "--configfile", CONFIG))
    assert all(rule in ("tables", "figures") or rule.startswith("render_") for rule in rules)
    assert [n for n in fresh.git("diff", "--name-only").split() if "/figures/" not in n] == []


def test_a_fresh_clone_pulls_and_renders_it_anew(fresh: Repository) -> None:
    pictures = sorted((fresh.path / RUN / "figures").glob("*.png"))
    before = {path: np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in pictures}
    sizes = {path: pages_of(path) for path in (fresh.path / RUN / "figures").glob("*.pdf")}
    assert before
    assert len(sizes) == len(before)
    assert all(sizes.values())
    began = cpu_seconds()
    fresh.dvc("pull")
    assert fresh.pulled() == fresh.pointers() != {}
    for name in ("tables", "figures"):
        shutil.rmtree(fresh.path / RUN / name)
    rules = rules_run(fresh.slimgen("published", "--configfile", CONFIG))
    took = cpu_seconds() - began
    wanted = [f"render_{page}" for page in pages(read_config(ROOT / CONFIG))]
    assert rules == sorted(["tables", "figures", *wanted])
    # Tables byte for byte; figures pixel by pixel (another font library moves an edge).
    changed = fresh.git("diff", "--name-only").split()
    assert [name for name in changed if "/figures/" not in name] == []
    for path, old in before.items():
        new = np.asarray(Image.open(path).convert("RGB"), dtype=int)
        assert new.shape == old.shape
        assert (abs(new - old).max(axis=-1) > 64).mean() < 0.001, path.name
    assert {path: pages_of(path) for path in sizes} == sizes
    # CPU-seconds, which neighbours hardly change: two cores do at least 1.6 of them in a second.
    assert took < 1.6 * 60
    assert fresh.plan("--configfile", CONFIG) == set()
