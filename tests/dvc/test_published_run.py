"""A fresh clone renders the committed tables and figures anew, and starts nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from repository import SMALL, Repository, cpu_seconds, rules_run

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]

RENDERED = ["figures", "render_act", "render_summary", "tables"]
TABLE = "results/small/tables/act.csv"


def render(repository: Repository) -> list[str]:
    """Render anew; return the rules whose jobs were started."""
    return rules_run(repository.slimgen("published", "--configfile", SMALL))


def delete_pages(repository: Repository) -> None:
    for name in ("tables", "figures"):
        shutil.rmtree(repository.path / "results" / "small" / name)


def test_clone_pull_published(bare: Repository) -> None:
    """`snakemake tables figures --configfile FILE --forcerun RENDER_RULES`, as `make` starts it."""
    began = cpu_seconds()
    bare.dvc("pull")
    assert bare.pulled() == bare.pointers()
    delete_pages(bare)
    words = ["tables", "figures", "--cores", "2", "--configfile", SMALL, "--forcerun"]
    done = bare.snakemake(*words, "render_act", "render_summary")
    assert rules_run(done.stdout) == RENDERED
    assert bare.git("status", "--porcelain") == ""  # every byte as committed
    assert not [p for p in (bare.path / "runs").rglob("*") if p.is_file()]
    logs = {path.parent.name for path in (bare.path / "logs" / "small").rglob("*.log")}
    assert logs == {"render"}
    assert cpu_seconds() - began < 1.6 * 60  # of two cores


def test_bare_clone_published_and_a_flipped_value(bare: Repository) -> None:
    delete_pages(bare)
    assert render(bare) == RENDERED
    assert bare.git("status", "--porcelain") == ""
    path = bare.path / "results/small/evaluation/act/ct/seed1/records.json"
    records = json.loads(path.read_text())
    for record in records["records"]:
        if record["metric"] == "q":
            record["value"] += 5
    path.write_text(json.dumps(records, indent=1) + "\n")
    assert render(bare) == RENDERED
    changed = bare.git("diff", "--name-only").split()
    assert TABLE in changed
    assert "results/small/tables/summary.csv" in changed
    said = bare.slimgen("verify", code=1)
    assert "seed1/records.json: not the bytes that the run read" in said


def test_published_refuses_to_train(bare: Repository) -> None:
    text = (bare.path / SMALL).read_text()
    (bare.path / SMALL).write_text(
        text.replace("preset: demo\n    steps: 6", "preset: demo\n    steps: 7")
    )
    said = bare.slimgen("published", "--configfile", SMALL, code=1)
    assert said.startswith(f"slimgen: {SMALL}: rendering would also run ")
    assert "act_student (2)" in said
    assert not (bare.path / "logs").exists()


def test_one_pulled_model_is_enough_to_sample(bare: Repository) -> None:
    folder = "results/small/act/student/ct/seed0"
    words = ("sample", "--model", folder, "--out", "grid.png", "--num", "4")
    weights = f"{folder}/diffusion_pytorch_model.safetensors"
    assert f"`dvc pull {weights}.dvc` brings it" in bare.slimgen(*words, code=1)
    bare.dvc("pull", f"{weights}.dvc")
    assert list(bare.pulled()) == [Path(weights)]
    bare.slimgen(*words)
    assert (bare.path / "grid.png").stat().st_size > 100


def test_a_training_starts_from_a_pulled_model(whole: Repository) -> None:
    """One step with a vanishing rate: the new weights are the pulled ones."""
    from safetensors.numpy import load_file

    start = "results/small/teacher/train/digits/seed0"
    network = json.loads((whole.path / start / "settings.json").read_text())["settings"]["network"]
    settings = {
        "init_from": start,
        "steps": 1,
        "batch_size": 8,
        "network": network,
        "optimizer": {"lr": 1e-30, "warmup": 0},
    }
    out = ["--out", "results/again/teacher/train/digits/seed0"]
    data = ["--data", "results/small/data/prepare/digits"]
    whole.slimgen("teacher.train", "--settings", json.dumps(settings), *out, *data)
    name = "diffusion_pytorch_model.safetensors"
    old = load_file(whole.path / start / name)
    new = load_file(whole.path / out[1] / name)
    assert old.keys() == new.keys()
    assert all((old[key] == new[key]).all() for key in old)
