"""`make track`: what goes to DVC and what to git, once and again; the `.gitignore` trap."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from repository import ROOT, SMALL, Repository, begin

from slimgen.config.run import read_config
from slimgen.config.sections import Track
from slimgen.tracking.plan import planned_jobs
from slimgen.tracking.pointers import STORED
from slimgen.tracking.track import check_without, is_wanted
from slimgen.training.job import StageError

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]


def made_files(origin: Repository, *suffixes: str) -> set[Path]:
    folder = origin.path / "results"
    return {p.relative_to(origin.path) for p in folder.rglob("*") if p.suffix in suffixes}


def test_weights_and_arrays_have_pointers_and_nothing_else(origin: Repository) -> None:
    """Of the first seed, as the config says: `track: {seeds: [0]}`."""
    files = made_files(origin, *STORED)
    of_seed_1 = {file for file in files if "seed1" in file.parts}
    assert len(of_seed_1) == 2
    assert set(origin.pointers()) == files - of_seed_1
    assert origin.pulled() == origin.pointers()


def test_git_has_every_other_output_and_no_log_or_report(origin: Repository) -> None:
    in_git = {Path(name) for name in origin.git("ls-files", "results").splitlines()}
    texts = made_files(origin, ".json", ".jsonl", ".csv", ".md", ".tex", ".png", ".pdf")
    pointers = {file.with_name(file.name + ".dvc") for file in origin.pointers()}
    assert in_git == texts | pointers | {Path("results/small/.gitignore")}
    assert len(texts) == 56
    (origin.path / "results" / "small" / "report.html").write_text("a report")
    (origin.path / "results" / "untracked").mkdir()
    (origin.path / "results" / "untracked" / "records.json").write_text("{}")
    assert origin.git("status", "--porcelain") == ""


def test_every_job_has_its_provenance_without_paths_of_this_machine(origin: Repository) -> None:
    config = read_config(ROOT / "tests" / "dvc" / SMALL)
    folder = origin.path / "provenance" / "small"
    jobs = {folder / f"{job.folder}.json" for job in planned_jobs(config)}
    pages = {folder / "render" / f"{page}.json" for page in ("act", "summary")}
    assert set(folder.rglob("*.json")) == jobs | pages
    assert not [path for path in jobs | pages if str(origin.path) in path.read_text()]


def test_the_first_track_says_what_it_added_and_puts_mtimes_back(
    origin: Repository, said: str, times: dict[Path, int]
) -> None:
    assert "8 files in DVC, 56 text files and images for git, 13 records" in said
    assert "  added: 8\n" in said
    assert "track.seeds, track.without): 2\n" in said
    assert "0.3 MB into this repository" in said
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_second_track_changes_nothing(origin: Repository) -> None:
    again = origin.slimgen("track", "--configfile", SMALL)
    assert "8 files in DVC" in again
    assert "0 records of provenance added, 0 changed" in again
    assert "added: " not in again
    assert origin.git("status", "--porcelain") == ""


def test_no_track_while_snakemake_is_at_work(origin: Repository) -> None:
    lock = origin.path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/small/tables/act.csv\n")
    said = origin.slimgen("track", "--configfile", SMALL, code=1)
    assert "Snakemake is at work in this folder" in said
    lock.unlink()


def test_changed_missing_and_altered_files_are_told_apart(whole: Repository) -> None:
    """In a clone: nobody ran a job here, so other bytes are damage and are not tracked."""
    pointers = whole.pointers()
    act, teacher = (f for f in sorted(pointers) if f.name.startswith("diffusion_pytorch"))
    path = whole.path / act
    before = path.read_bytes()
    path.write_bytes(before + b"x")
    os.utime(path, (1.7e9, 1.7e9))
    (whole.path / teacher).unlink()
    old = whole.path / teacher.with_name("old.npz.dvc")
    old.write_text((whole.path / f"{teacher}.dvc").read_text())
    said = whole.slimgen("track", "--configfile", SMALL, code=1)
    assert f"altered since their job wrote them (make verify), not tracked: 1\n    {act}\n" in said
    assert f"not pulled: 1\n    {teacher}\n" in said
    assert f"git rm its folder): 1\n    {old.relative_to(whole.path)}\n" in said
    old.unlink()
    assert whole.pointers() == pointers
    assert whole.git("status", "--porcelain") == ""
    path.unlink()
    whole.dvc("pull")
    # A job that runs here again, with other settings, is no damage.
    config = (whole.path / SMALL).read_text()
    (whole.path / SMALL).write_text(
        config.replace("preset: demo\n    steps: 6", "preset: demo\n    steps: 7")
    )
    whole.snakemake(str(act), "--cores", "1", "--configfile", SMALL)
    said = whole.slimgen("track", "--configfile", SMALL, code=1)
    assert f"changed: 1\n    {act}\n" in said
    assert "outdated" in said  # its measurement and the pages
    assert whole.pulled() == whole.pointers() != pointers
    # To the end: the pages find no pointer to a model that is gone.
    (whole.path / SMALL).write_text(
        config.replace("preset: demo\n    steps: 6", "preset: demo\n    steps: 8")
    )
    whole.snakemake("all", "--cores", "2", "--configfile", SMALL)
    said = whole.slimgen("track", "--configfile", SMALL)
    assert f"changed: 1\n    {act}\n" in said
    assert "outdated" not in said


def test_a_run_tracks_itself_where_the_config_says_so(tmp_path: Path) -> None:
    """`track.after_run`, with what the command line changed: here the run's name."""
    repository = begin(tmp_path / "a repository", stand_in=True)
    target = "results/itself/data/prepare/digits/manifest.json"
    changes = [
        "run=itself",
        "track={after_run: true, without: [teacher.train, data.prepare/search.npz]}",
    ]
    words = [target, "--cores", "1", "--configfile", SMALL, "--config", *changes]
    said = repository.slimgen("run", *words)
    assert "itself: 3 files in DVC, 2 text files and images for git" in said
    assert "missing: " in said  # nothing else was asked for
    pointers = sorted((repository.path / "results").rglob("*.dvc"))
    assert [path.name for path in pointers] == [
        f"{split}.npz.dvc" for split in ("report", "train", "validation")
    ]


def test_a_file_that_its_stage_does_not_write_is_named_with_those_that_it_does() -> None:
    config = read_config(ROOT / "tests" / "dvc" / SMALL)
    outputs = [f"results/small/data/prepare/digits/{name}.npz" for name in ("search", "train")]
    right, wrong = (
        config.model_copy(
            update={"track": Track(without=("teacher.train", f"data.prepare/{name}"))}
        )
        for name in ("search.npz", "serach.npz")
    )
    check_without(right, outputs)
    assert [is_wanted(right, output) for output in outputs] == [False, True]
    with pytest.raises(StageError, match=r"serach.npz': data.prepare .* search.npz, train.npz"):
        check_without(wrong, outputs)


def test_dvc_sees_every_pointer_and_none_below_an_ignored_folder(origin: Repository) -> None:
    pointers = origin.pointers()
    seen = {Path(line) for line in origin.dvc("ls", "-R", "--dvc-only", ".").split()}
    assert seen == set(pointers)
    rules = (origin.path / ".gitignore").read_text()
    (origin.path / ".gitignore").write_text(rules + "/results/\n")
    try:
        assert "results/small/data" not in origin.dvc("ls", "-R", "--dvc-only", ".")
        said = origin.slimgen("verify", code=1)
        assert said.count("ignored by git, so DVC does not see it; mend: correct .gitignore") == 8
    finally:
        (origin.path / ".gitignore").write_text(rules)


def test_a_dvc_ignored_folder_is_what_the_rules_avoid(origin: Repository) -> None:
    """Nothing of results/ but files is ignored: every folder stays visible."""
    folders = {str(file.parent) for file in origin.pointers()}
    assert origin.do("git", "check-ignore", "--no-index", *folders, code=1) == ""


def test_a_classifier_is_stored_whatever_its_seed() -> None:
    """The one that rewards a search has seed 1 in every run: a whole pull brings it too."""
    config = read_config(ROOT / "config" / "published.yaml")
    root, file = "results/published", "model.safetensors"
    assert is_wanted(config, f"{root}/classifier/train/reward/seed1/{file}")
    assert is_wanted(config, f"{root}/act/student/act/seed0/{file}")
    assert not is_wanted(config, f"{root}/act/student/act/seed1/{file}")
