"""One file is one run: the demo's keys leak nowhere, in no process; faults end before any job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import SMOKE, Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

# The real Snakefile, then what it holds, in the main process and in a spawned job (`run:` is one).
SHOW = """
import json
from pathlib import Path

include: "Snakefile"

Path("main.json").write_text(json.dumps(config))

rule show:
    output:
        "shown.json"
    run:
        Path(output[0]).write_text(json.dumps(config))
"""


def demo(checkout: Checkout) -> dict[str, Any]:
    return yaml.safe_load((checkout.path / "config" / "config.yaml").read_text())


def other(checkout: Checkout) -> dict[str, Any]:
    return yaml.safe_load((checkout.path / "other.yaml").read_text())


@pytest.fixture
def show(fresh: Checkout) -> Path:
    (fresh.path / "show.smk").write_text(SHOW)
    # Shares nothing with the demo but the two keys that every config has.
    (fresh.path / "other.yaml").write_text("run: other\ndataset: digits\nseeds: [7]\n")
    return fresh.path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], lambda c: demo(c)),
        (["--configfile", "other.yaml"], lambda c: other(c)),
        (["--config", "seeds=3"], lambda c: demo(c) | {"seeds": 3}),
        (["--configfile", "other.yaml", "--config", "seeds=3"], lambda c: other(c) | {"seeds": 3}),
    ],
    ids=["nothing", "configfile", "config", "both"],
)
def test_values_in_the_main_process(
    fresh: Checkout, show: Path, options: list[str], expected: Any
) -> None:
    fresh.snakemake("show", "-n", "-s", "show.smk", *options)
    assert json.loads((show / "main.json").read_text()) == expected(fresh)


@pytest.mark.parametrize("options", [[], ["--configfile", "other.yaml"]], ids=["demo", "other"])
def test_values_in_a_spawned_job(fresh: Checkout, show: Path, options: list[str]) -> None:
    (show / "shown.json").unlink(missing_ok=True)
    fresh.snakemake("show", "-s", "show.smk", "--cores", "1", *options, "--config", "seeds=2")
    expected = (other(fresh) if options else demo(fresh)) | {"seeds": 2}
    assert json.loads((show / "shown.json").read_text()) == expected


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("dataset=nope", "config: dataset = 'nope': no such name; it can be digits"),
        ("seeds=0", "config: seeds = 0: at least one seed is needed"),
        ("sedes=1", "config: sedes = 1: unknown key; it can be run, seeds, "),
    ],
)
def test_a_fault_is_one_line_and_no_job(fresh: Checkout, option: str, line: str) -> None:
    done = fresh.snakemake("all", "-n", "--configfile", SMOKE, "--config", option, check=False)
    assert done.returncode == 1
    said = done.stdout.strip().splitlines()
    assert said[-1].startswith(line)
    assert "Traceback" not in done.stdout
    assert "Building DAG" not in done.stdout


def test_missing_files_are_found_before_any_job(fresh: Checkout) -> None:
    (fresh.path / "missing.yaml").write_text(
        "run: missing\ndataset: mine\n"
        "data: {prepare: {variants: {mine: {source: {kind: folder, path: no/such/folder}}}}}\n"
        "teacher: {from: ./no-model}\n"
    )
    done = fresh.snakemake("all", "-n", "--configfile", "missing.yaml", check=False)
    assert done.returncode == 1
    assert done.stdout.strip().splitlines()[-2:] == [
        "config: data.prepare.variants.mine.source.path = 'no/such/folder': no such file or folder",
        "config: teacher.train.variants.mine.from = './no-model': no such file or folder",
    ]
