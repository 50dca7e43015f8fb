"""Faults around Snakemake: two in a folder, killed ones, clocks, read-only folders, odd names."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkout import Checkout, copy_checkout, data_alone, slimgen
from PIL import Image

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24  # of Linux: without it root too keeps to permissions


def state(checkout: Checkout, run: str) -> Path:
    return checkout.path / "runs" / run / "data" / "prepare" / "digits"


def wait_until(condition: object, what: str) -> None:
    end = time.monotonic() + 40
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture
def under_way(fresh: Checkout, request: pytest.FixtureRequest) -> Iterator[tuple[str, object]]:
    """A run whose only job waits: its name and the process of `slimgen run`."""
    run = "w" + str(abs(hash(request.node.name)) % 10**8)
    child = slimgen(fresh, "run", *data_alone(run), STAND_IN_WAITS="data.prepare")
    wait_until(lambda: (state(fresh, run) / "progress.json").exists(), "the job did not start")
    yield run, child
    if child.poll() is None:
        os.kill(child.pid, signal.SIGINT)
    child.communicate(timeout=30)


def test_two_starts_of_one_run(fresh: Checkout, under_way: tuple[str, object]) -> None:
    run, _ = under_way
    second = slimgen(fresh, "run", *data_alone(run))
    _, errors = second.communicate()
    assert second.returncode == 1
    assert errors.startswith(f"locked: run {run} is under way in this folder (`make status`)")


def test_another_run_neither_waits_nor_opens_the_lock(
    fresh: Checkout, under_way: tuple[str, object]
) -> None:
    run, first = under_way
    other = slimgen(fresh, "run", *data_alone(f"{run}-other"))
    said, errors = other.communicate()
    assert other.returncode == 0, errors
    assert "1 jobs in" in said
    # Its end took Snakemake's own lock of the first run away; ours still holds.
    assert first.poll() is None  # type: ignore[attr-defined]
    third = fresh.snakemake(*data_alone(run), check=False)
    assert third.returncode != 0
    line = f"slimgen: run {run} is under way in this folder (`make status`); no job was started"
    assert line in third.stdout.splitlines()
    assert "Traceback" not in third.stdout
    assert "rule data_prepare:" not in third.stdout
    assert (state(fresh, run) / "progress.json").exists()


def snakemake_of(child: subprocess.Popen[str]) -> int:
    """Return the process id of the Snakemake that `slimgen run` started."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(child.pid)], stdout=subprocess.PIPE, text=True
    )
    lines = [line.split(None, 1) for line in found.stdout.splitlines()]
    return next(int(number) for number, words in lines if " snakemake " in words)


def is_alive(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or drops a capability")


@linux
def test_killed_slimgen_run_ends_snakemake_and_saves_its_jobs(
    fresh: Checkout, under_way: tuple[str, subprocess.Popen[str]]
) -> None:
    run, child = under_way
    number = snakemake_of(child)
    child.kill()
    wait_until(lambda: not is_alive(number), "Snakemake went on without its parent")
    saved = json.loads((state(fresh, run) / "saved.json").read_text())
    assert saved["why"] == "SIGINT"
    again = slimgen(fresh, "run", *data_alone(run))  # no lock was left
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "1 jobs in" in said


@linux
def test_killed_snakemake_saves_its_jobs_and_leaves_a_lock_that_is_explained(
    fresh: Checkout, under_way: tuple[str, subprocess.Popen[str]]
) -> None:
    run, child = under_way
    os.kill(snakemake_of(child), signal.SIGKILL)
    _, errors = child.communicate(timeout=30)
    assert child.returncode != 0
    assert "Snakemake ended with exit code -9" in errors
    assert "Snakemake was killed (SIGKILL)" in errors
    assert ".venv/bin/snakemake --unlock" in errors
    wait_until(lambda: (state(fresh, run) / "saved.json").exists(), "its job did not save")
    _, errors = slimgen(fresh, "run", *data_alone(run)).communicate()
    assert errors.startswith("locked: a run was killed in this folder")
    unlock = errors.splitlines()[0].rpartition(".venv/bin/snakemake ")[2]
    fresh.snakemake(*shlex.split(unlock), "--config", f"run={run}")
    again = slimgen(fresh, "run", *data_alone(run))
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "1 jobs in" in said


@pytest.mark.parametrize("seed", [0, 1])
def test_random_times_of_all_files_plan_nothing(finished: Checkout, seed: int) -> None:
    rng = random.Random(seed)
    files = [path for path in finished.path.rglob("*") if path.is_file()]
    before = {path: path.stat() for path in files}
    assert sum("results" in path.parts for path in files) > 100
    try:
        for path in files:
            moment = rng.uniform(6e8, 3e9)  # 1989 to 2065
            os.utime(path, (moment, moment))
        assert finished.plan() == set()
    finally:
        for path, old in before.items():
            os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def keep_to_permissions() -> None:
    """Let this process and its children obey permissions although they may be root's."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError("the capability cannot be dropped")


@linux
@pytest.mark.parametrize("folder", ["results", "runs", "logs"])
def test_a_read_only_folder_is_told_before_any_job(fresh: Checkout, folder: str) -> None:
    place = fresh.path / folder
    place.mkdir(exist_ok=True)
    run = f"closed-{folder}"
    place.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "slimgen", "run", *data_alone(run)],
            cwd=fresh.path,
            env=fresh.environment(),
            capture_output=True,
            text=True,
            preexec_fn=keep_to_permissions,
        )
    finally:
        place.chmod(0o755)
    assert done.returncode == 1
    head = "slimgen: logs" if folder == "logs" else f"slimgen: {folder}/{run}"
    assert done.stderr.startswith(f"{head}: nothing can be written there (Permission denied)")
    assert len(done.stderr.splitlines()) <= 2
    assert not (fresh.path / "results" / run / "data").exists()


# Names


HOSTILE = """a 'quoted' "folder"; touch hacked; $(touch hacked) `touch hacked` & {x} * [y]"""


def test_hostile_names_of_checkout_config_and_data_are_only_names(tmp_path: Path) -> None:
    """The real Snakefile with the real stage, in a folder and on a folder of such a name."""
    checkout = copy_checkout(tmp_path / HOSTILE.replace("{x} * [y]", ""), stand_in=False)
    images = checkout.path / HOSTILE / HOSTILE  # a class of that name
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, size=(4, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}; touch hacked.png")
    source = {"kind": "folder", "path": HOSTILE, "channels": 1}
    settings = {"source": source, "search": 2, "validation": 2, "report": 10}
    config = checkout.path / "it's; touch hacked.yaml"
    mapping = {
        "run": "odd",
        "dataset": "mine",
        "data": {"prepare": {"variants": {"mine": settings}}},
    }
    config.write_text(json.dumps(mapping))  # JSON is YAML
    manifest = "results/odd/data/prepare/mine/manifest.json"
    checkout.snakemake(manifest, "--cores", "1", "--configfile", config.name)
    written = json.loads((checkout.path / manifest).read_text())
    assert written["source"]["path"] == HOSTILE
    assert sum(split["size"] for split in written["splits"].values()) == 24
    assert list(tmp_path.rglob("hacked")) == []


@pytest.mark.parametrize("name", ["a b; touch hacked", "it's", "* [y]"])
def test_hostile_names_of_weights_reach_the_stage_as_they_are(fresh: Checkout, name: str) -> None:
    weights = fresh.path / "odd weights" / name / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text("one")
    given = f"odd weights/{name}"
    (fresh.path / "odd.yaml").write_text(
        json.dumps({"run": "odd", "dataset": "digits", "teacher": {"train": {"init_from": given}}})
    )
    model = "results/odd/teacher/train/digits/seed0/config.json"
    fresh.snakemake(model, "--cores", "1", "--configfile", "odd.yaml")
    words = (fresh.path / model).read_text().split("\n")  # the stand-in writes what it was given
    assert json.loads(words[words.index("--settings") + 1])["init_from"] == given
    assert not (fresh.path / "hacked").exists()


def test_braces_in_names_of_weights_are_refused(fresh: Checkout) -> None:
    """Snakemake has no way to write them: it takes them for wildcards."""
    (fresh.path / "odd weights" / "{x}").mkdir(parents=True, exist_ok=True)
    (fresh.path / "odd weights" / "{x}" / "model.safetensors").touch()
    for name in ("odd weights/{x}", "odd weights"):
        (fresh.path / "braces.yaml").write_text(
            f"run: braces\ndataset: digits\nteacher: {{train: {{init_from: '{name}'}}}}\n"
        )
        done = fresh.snakemake("all", "-n", "--configfile", "braces.yaml", check=False)
        assert done.returncode == 1
        assert done.stdout.strip().splitlines()[-1] == (
            f"config: teacher.train.variants.digits.init_from = '{name}': Snakemake takes braces "
            "in names for wildcards; rename it"
        )
    shutil.rmtree(fresh.path / "odd weights" / "{x}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"run": "a; touch hacked"}, "config: run = 'a; touch hacked': "),
        ({"run": "../elsewhere"}, "config: run = '../elsewhere': "),
        ({"dataset": "$(touch hacked)"}, "config: dataset = '$(touch hacked)': "),
        (
            {"dbnas": {"search": {"variants": {"S1; touch hacked": {}}}}},
            "config: dbnas.search.variants.S1; touch hacked: a variant names a folder",
        ),
    ],
    ids=["run", "path", "dataset", "variant"],
)
def test_names_that_become_folders_are_checked(
    fresh: Checkout, change: dict[str, object], line: str
) -> None:
    (fresh.path / "refused.yaml").write_text(json.dumps({"run": "r", "dataset": "digits"} | change))
    done = fresh.snakemake("all", "-n", "--configfile", "refused.yaml", check=False)
    assert done.returncode == 1
    assert done.stdout.strip().splitlines()[-1].startswith(line)
    assert not (fresh.path / "hacked").exists()
