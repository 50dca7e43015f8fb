"""`snakemake -n` in a clone tells the truth: bare, partly or wholly pulled, whatever the mtimes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from repository import Repository

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]

PAGES = {"render_act", "render_summary"}
ACT = {"act_student ct", "act_student ct seed1"}
MEASURED = {"evaluation_measure act/ct", "evaluation_measure act/ct seed1"}


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)


def changed_value(repository: Repository) -> set[str]:
    with edited(
        repository.path / "small.yaml", "preset: demo\n    steps: 6", "preset: demo\n    steps: 7"
    ):
        return repository.small_plan()


def test_a_bare_clone_plans_nothing(bare: Repository) -> None:
    for seed in range(3):
        bare.shuffle_times(seed)
        assert bare.small_plan() == set()
    # What a changed stage reads is not here, so it would be made first: pull before that.
    jobs = changed_value(bare)
    assert jobs >= ACT | MEASURED | PAGES | {"data_prepare digits"}


def test_a_partly_pulled_clone_plans_nothing(bare: Repository) -> None:
    for folder in ("data", "classifier", "evaluation"):
        bare.dvc("pull", "--recursive", f"results/small/{folder}")
    assert 0 < len(bare.pulled()) < len(bare.pointers())
    for seed in range(3):
        bare.shuffle_times(seed)
        assert bare.small_plan() == set()
    assert changed_value(bare) == ACT | MEASURED | PAGES


def test_a_wholly_pulled_clone_plans_nothing(whole: Repository) -> None:
    for seed in range(3):
        whole.shuffle_times(seed)
        assert whole.small_plan() == set()
    assert changed_value(whole) == ACT | MEASURED | PAGES


def test_an_altered_checkpoint_plans_what_reads_it(whole: Repository) -> None:
    path = whole.path / "results/small/teacher/train/digits/seed0"
    path /= "diffusion_pytorch_model.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert whole.small_plan() == {"evaluation_measure teacher/digits"} | PAGES
    path.write_bytes(before)
    assert whole.small_plan() == set()


def test_later_edits_of_code_and_new_keys_make_nothing_outdated(whole: Repository) -> None:
    package = whole.path / "workflow" / "slimgen"
    for name in ("systems/act/student.py", "render/command.py", "training/loop.py"):
        path = package / name
        path.write_text(path.read_text() + "\nEDITED = 1\n")
    settings = package / "config" / "act.py"
    key = "    s0: int ="
    with edited(settings, key, "    brand_new: int = 3\n" + key):
        assert whole.small_plan() == set()
    whole.git("checkout", "--quiet", "--", "workflow")


def test_one_more_seed_plans_that_seed(whole: Repository) -> None:
    jobs = whole.plan("--configfile", "small.yaml", "--config", "seeds=3")
    assert jobs - PAGES == {
        "teacher_train seed2",
        "act_student ct seed2",
        "evaluation_measure teacher/digits seed2",
        "evaluation_measure act/ct seed2",
    }


def test_records_of_an_older_provenance_give_way_to_those_of_a_git_pull(whole: Repository) -> None:
    """The published run is made anew and committed; a clone that pulls it plans nothing."""
    record = whole.path / "provenance/small/act/student/ct/seed0.json"
    with edited(whole.path / "small.yaml", "batch_size: 16", "batch_size: 18"):
        assert "act_student ct" in whole.small_plan()
        changed = (
            record.with_name("seed0.json")
            .read_text()
            .replace('\\"batch_size\\": 16', '\\"batch_size\\": 18')
        )
        with edited(record, record.read_text(), changed):
            assert not {"act_student ct"} & whole.small_plan()
    assert whole.small_plan() == set()
