"""Every kind of damage is found, named, and mended by the very command that `verify` prints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repository import SMALL, Repository, md5

from slimgen.config.run import read_config
from slimgen.tracking.plan import page_settings
from slimgen.tracking.snakemake_records import RESTORED, record_path

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]

WEIGHTS = Path("results/small/act/student/ct/seed0/diffusion_pytorch_model.safetensors")
POINTER = Path(f"{WEIGHTS}.dvc")
RECORDS = Path("results/small/evaluation/act/ct/seed0/records.json")
OTHER_MD5 = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def put_back(whole: Repository) -> Iterator[None]:
    """Whatever a test leaves, the next one finds everything pulled and as committed."""
    yield
    shutil.rmtree(whole.path / ".snakemake" / "metadata", ignore_errors=True)
    if whole.git("status", "--porcelain"):
        whole.git("checkout", "--quiet", "--", ".")
    if whole.pulled() != whole.pointers():
        shutil.rmtree(whole.path / ".dvc" / "cache")
        for file in whole.pulled():
            (whole.path / file).unlink()
        whole.dvc("pull")


def flip(path: Path) -> None:
    """Change one bit, keeping size, mtime and mode: nothing but the bytes tells."""
    before, mode = path.stat(), path.stat().st_mode
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))
    path.chmod(mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def in_cache(repository: Repository) -> Path:
    name = repository.pointers()[WEIGHTS]
    return Path(".dvc/cache/files/md5", name[:2], name[2:])


def in_store(repository: Repository) -> Path:
    name = repository.pointers()[WEIGHTS]
    return Path(".dvc/store/files/md5", name[:2], name[2:])


def name_another(repository: Repository) -> None:
    """Put the pointer of another branch in the place of this one."""
    path = repository.path / POINTER
    text = path.read_text()
    path.write_text(text.replace(repository.pointers()[WEIGHTS], OTHER_MD5))


def alter_value(repository: Repository) -> None:
    """Change a number in a record under the old mtime."""
    path = repository.path / RECORDS
    before = path.stat()
    content = json.loads(path.read_text())
    content["records"][0]["value"] += 1
    path.write_text(json.dumps(content, indent=1) + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def measure_another(repository: Repository) -> None:
    """Put records of another branch's model in the place of these."""
    path = repository.path / RECORDS
    path.write_text(path.read_text().replace(repository.pointers()[WEIGHTS], OTHER_MD5))


def lose_from_store(repository: Repository) -> None:
    (repository.path / in_store(repository)).unlink()


def lose_text(repository: Repository) -> None:
    (repository.path / WEIGHTS.with_name("log.jsonl")).unlink()


def half_write_pointer(repository: Repository) -> None:
    (repository.path / POINTER).write_text("outs:\n- md5: 01")


def half_write_provenance(repository: Repository) -> None:
    path = repository.path / "provenance/small/act/student/ct/seed0.json"
    path.write_text(path.read_text()[:100])


DAMAGE: dict[str, tuple[Callable[[Repository], None], str]] = {
    "bytes under an old mtime": (
        lambda r: flip(r.path / WEIGHTS),
        f"{WEIGHTS}: its bytes are not those of {POINTER}; ",
    ),
    "corrupted cache": (
        lambda r: flip(r.path / in_cache(r)),
        f"damaged copy of {WEIGHTS} in DVC's cache; ",
    ),
    "corrupted remote": (
        lambda r: flip(r.path / in_store(r)),
        f"damaged copy of {WEIGHTS} in the remote `published`; ",
    ),
    "lost from the remote": (lose_from_store, f"{WEIGHTS}: not in published: cannot be pulled; "),
    "pointer of another branch": (
        name_another,
        f"{POINTER}: names md5 {OTHER_MD5}, but the run made ",
    ),
    "record under an old mtime": (alter_value, f"{RECORDS}: not the bytes that the run read; "),
    "record of another branch": (
        measure_another,
        f"{RECORDS}: measured a model with md5 {OTHER_MD5}, which its job was not given; ",
    ),
    "lost text": (lose_text, f"{WEIGHTS.with_name('log.jsonl')}: missing; "),
}


def mends(said: str) -> list[str]:
    """Return the first command that each fault names."""
    return [
        line.split("mend: ")[1].split(", or ")[0] for line in said.splitlines() if "mend:" in line
    ]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_mended_as_it_says(whole: Repository, kind: str) -> None:
    do, line = DAMAGE[kind]
    do(whole)
    said = whole.slimgen("verify", "--run", "small", code=1)
    assert line in said, said
    for command in dict.fromkeys(mends(said)):
        whole.do("bash", "-c", command)
    assert "8 of 8 files pulled, 13 jobs recorded, 0 faults" in whole.slimgen("verify")
    assert whole.git("status", "--porcelain") == ""


@pytest.mark.parametrize("do", [half_write_pointer, half_write_provenance])
def test_half_written_text_is_named(whole: Repository, do: Callable[[Repository], None]) -> None:
    do(whole)
    command = whole.slimgen("verify", code=1).split("`")[1]
    assert command.startswith("git checkout -- ")
    if do is half_write_provenance:  # told before the graph is built, too
        assert command in whole.slimgen("published", "--configfile", SMALL, code=1)
    whole.do("bash", "-c", command)
    assert "0 faults" in whole.slimgen("verify")


@pytest.mark.parametrize("do", [name_another, measure_another, half_write_pointer])
def test_render_refuses_a_record_of_another_model_than_the_pointer(
    whole: Repository, do: Callable[[Repository], None]
) -> None:
    do(whole)
    settings = page_settings(read_config(whole.path / SMALL), "act")
    places = ["--results", "results/small", "--out", "rendered"]
    said = whole.slimgen("render.act", "--settings", settings, *places, code=1)
    assert len(said.splitlines()) == 1
    if do is half_write_pointer:
        assert f"{POINTER}: not a DVC pointer with an md5; `git checkout -- {POINTER}`" in said
    else:
        assert f"{RECORDS} measured a model with md5 " in said
        assert f"but {POINTER} names " in said
    assert not (whole.path / "rendered").exists()


def test_neither_snakemake_nor_dvc_sees_bytes_under_an_old_mtime(whole: Repository) -> None:
    """This is why `verify` reads every byte."""
    os.utime(whole.path / WEIGHTS, (1.7e9, 1.7e9))
    whole.dvc("status")  # DVC remembers size and mtime
    flip(whole.path / WEIGHTS)
    assert whole.small_plan() == set()
    assert "up to date" in whole.dvc("status")
    assert f"rm {WEIGHTS} && dvc pull {POINTER}" in whole.slimgen("verify", code=1)
    (whole.path / WEIGHTS).unlink()
    whole.dvc("pull", str(POINTER))


def test_a_pull_that_lacks_bytes_fails_and_names_them(bare: Repository) -> None:
    lose_from_store(bare)
    said = bare.dvc("pull", code=1)
    assert str(WEIGHTS) in said.replace("\n", "")
    assert len(bare.pulled()) == 7
    assert bare.small_plan() == set()  # what is not here is no reason to train
    assert f"{WEIGHTS}: not in published: cannot be pulled" in bare.slimgen("verify", code=1)


def test_a_killed_pull_is_no_fault_and_the_next_one_completes_it(bare: Repository) -> None:
    command = [sys.executable, "-m", "dvc", "pull"]
    child = subprocess.Popen(command, cwd=bare.path, env=bare.environment(), start_new_session=True)
    cache = bare.path / ".dvc" / "cache" / "files"
    while not list(cache.glob("md5/*/*")):
        assert child.poll() is None
        time.sleep(0.002)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert len(bare.pulled()) < 8
    assert bare.small_plan() == set()
    assert f"small: {len(bare.pulled())} of 8 files pulled" in bare.slimgen("verify")
    bare.dvc("pull")
    assert bare.pulled() == bare.pointers()
    assert {path: md5(bare.path / path) for path in bare.pointers()} == bare.pointers()


def test_a_run_made_anew_and_given_up_is_named(whole: Repository) -> None:
    """Files back from git and DVC, but Snakemake remembers the other run (or a failed one)."""
    assert whole.small_plan() == set()
    page = "results/small/tables/act.csv"
    path = record_path(page, whole.path / ".snakemake" / "metadata")
    record = json.loads(path.read_text())
    del record[RESTORED]  # as Snakemake writes it
    record["params"] = [text.replace("[0, 1]", "[0]") for text in record["params"]]
    path.write_text(json.dumps(record))
    assert whole.small_plan() == {"render_act"}
    said = whole.slimgen("verify", code=1)
    assert f"{page}: was made anew in this folder since it was tracked; mend: make track" in said
    name = said.split("--cleanup-metadata ")[1].split()[0]
    whole.snakemake("--cleanup-metadata", name, "--configfile", SMALL)
    assert whole.small_plan() == set()
    assert "0 faults" in whole.slimgen("verify")
