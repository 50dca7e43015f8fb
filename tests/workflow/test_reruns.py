"""What reruns and what does not: dry runs of the real Snakefile after one change.

The records that these dry runs read were written by Snakemake itself, in a run of every job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkout import SMOKE, Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Replace a text in a file for a while."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)


def stages(jobs: set[str]) -> set[str]:
    return {job.split()[0] for job in jobs}


def test_nothing_after_a_finished_run(finished: Checkout) -> None:
    assert finished.plan() == set()


def test_touched_files_rerun_nothing(finished: Checkout) -> None:
    for path in finished.path.rglob("workflow/slimgen/**/*.py"):
        path.touch()
    for name in ("data/prepare/digits/train.npz", "teacher/train/digits/seed0/config.json"):
        (finished.path / "results" / "smoke" / name).touch()
    (finished.path / SMOKE).touch()
    assert finished.plan() == set()


def test_comments_and_docstrings_rerun_nothing(finished: Checkout) -> None:
    search = finished.path / "workflow" / "slimgen" / "systems" / "dbnas" / "search.py"
    with edited(search, "from __future__", "# a reason\n\nfrom __future__"):
        assert finished.plan() == set()
    with edited(search, '"""', '"""Another word. '):
        assert finished.plan() == set()


def test_an_edit_of_search_reruns_search_and_what_follows(finished: Checkout) -> None:
    search = finished.path / "workflow" / "slimgen" / "systems" / "dbnas" / "search.py"
    text = search.read_text()
    with edited(search, text, text + "\nEDITED = 1\n"):
        jobs = finished.plan()
    assert jobs == {
        *(f"dbnas_search {name}" for name in ("S1", "S2", "random", "global")),
        *(f"dbnas_student {name}" for name in ("S1-linear", "S2-linear")),
        "denoising_student_pairs S2",
        "denoising_student_student S2",
        "act_student act-searched",
        *(f"evaluation_measure dbnas/{name}" for name in ("S1-linear", "S2-linear")),
        "evaluation_measure denoising_student/S2",
        "evaluation_measure act/act-searched",
        *(f"render_{page}" for page in ("dbnas", "denoising_student", "act", "summary")),
    }


def test_a_changed_act_key_reruns_only_act_and_what_shows_it(finished: Checkout) -> None:
    with edited(
        finished.path / SMOKE, "steps: 8\n    batch_size: 16", "steps: 9\n    batch_size: 16"
    ):
        jobs = finished.plan()
    rows = ("act", "ct", "act-noaug", "act-searched")
    assert jobs == {
        *(f"act_student {row}" for row in rows),
        *(f"evaluation_measure act/{row}" for row in rows),
        "render_act",
        "render_summary",
    }


def test_a_changed_variant_reruns_that_variant(finished: Checkout) -> None:
    with edited(finished.path / SMOKE, "act-noaug: {augment", "act-noaug: {r1_gamma: 2.0, augment"):
        jobs = finished.plan()
    assert jobs == {
        "act_student act-noaug",
        "evaluation_measure act/act-noaug",
        "render_act",
        "render_summary",
    }


def test_an_edit_of_autogans_search_reruns_what_follows_and_no_other_system(
    finished: Checkout,
) -> None:
    search = finished.path / "workflow" / "slimgen" / "systems" / "autogan" / "search.py"
    text = search.read_text()
    with edited(search, text, text + "\nEDITED = 1\n"):
        jobs = finished.plan()
    names = ("autogan", "random", "no-reset", "no-mlas")
    assert jobs == {
        *(f"autogan_search {name}" for name in names),
        *(f"autogan_student {name}" for name in names),
        "autogan_transfer autogan",
        *(f"evaluation_measure autogan/{name}" for name in (*names, "transfer-autogan")),
        "render_autogan",
        "render_summary",
    }


def test_a_new_key_with_a_default_reruns_nothing(finished: Checkout) -> None:
    settings = finished.path / "workflow" / "slimgen" / "config" / "act.py"
    with edited(settings, "    s0: int =", "    brand_new: int = 3\n    s0: int ="):
        assert finished.plan() == set()


def test_one_more_seed_runs_that_seed(finished: Checkout) -> None:
    jobs = finished.plan("--configfile", SMOKE, "--config", "seeds=2")
    assert {job for job in jobs if not job.endswith("seed1")} == {
        "teacher_train seed1",
        *(
            f"render_{page}"
            for page in (
                "dbnas",
                "denoising_student",
                "act",
                "autogan",
                "gan_compression",
                "summary",
            )
        ),
    } - {"teacher_train seed1"}
    assert {"teacher_train seed1", "dbnas_search S2 seed1", "act_student ct seed1"} <= jobs
    assert "classifier_train" not in stages(jobs)  # one ruler for every seed


def test_absent_models_plan_no_training(finished: Checkout) -> None:
    results = finished.path / "results" / "smoke"
    models = [*results.rglob("*.safetensors"), *results.rglob("*.npz")]
    assert models
    for path in models:
        path.rename(path.with_name(path.name + ".away"))
    try:
        assert finished.plan() == set()
    finally:
        for path in models:
            path.with_name(path.name + ".away").rename(path)


def test_changed_bytes_of_an_artefact_rerun_what_reads_it(finished: Checkout) -> None:
    arch = finished.path / "results" / "smoke" / "dbnas" / "search" / "S1" / "seed0" / "arch.json"
    with edited(arch, "dbnas", "DBNAS"):
        jobs = finished.plan()
    arch.touch()
    assert jobs == {
        "dbnas_student S1-linear",
        "evaluation_measure dbnas/S1-linear",
        "render_dbnas",
        "render_summary",
    }
    assert finished.plan() == set()


def test_other_bytes_of_named_weights_rerun_what_starts_from_them(fresh: Checkout) -> None:
    weights = fresh.path / "given" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("one")
    (fresh.path / "given.yaml").write_text(
        "run: given\ndataset: digits\nteacher: {train: {init_from: given}}\n"
    )
    model = "results/given/teacher/train/digits/seed0/config.json"
    fresh.snakemake(model, "--cores", "1", "--configfile", "given.yaml")
    assert fresh.plan("--configfile", "given.yaml", targets=(model,)) == set()
    weights.write_text("two")
    assert fresh.plan("--configfile", "given.yaml", targets=(model,)) == {"teacher_train"}


@pytest.mark.parametrize("key", ["cpu_seconds={}", "minutes=3"])
def test_keys_that_no_stage_reads_rerun_nothing(finished: Checkout, key: str) -> None:
    if key.startswith("cpu"):
        with edited(finished.path / SMOKE, "seeds: 1", "seeds: 1\ncpu_seconds: {a: 1.0}"):
            assert finished.plan() == set()
    else:
        assert finished.plan("--configfile", SMOKE, "--config", key) == set()
