"""The graph of the real Snakefile: which jobs there are, what they read, what the rules declare."""

from __future__ import annotations

import re
import resource

import pytest
from checkout import ROOT, SMOKE, Checkout, planned

from slimgen.config.run import STAGES, read_config
from slimgen.tracking.plan import planned_jobs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


@pytest.fixture(scope="module")
def dry_run(fresh: Checkout) -> tuple[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = fresh.snakemake("all", "-n", "--configfile", SMOKE).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def blocks(output: str) -> list[tuple[str, list[str]]]:
    """Return (rule, inputs) of every planned job."""
    found = []
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", output)[1:]:
        inputs = re.search(r"^    input: (.*)$", block, re.M)
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule
        found.append((rule[1], inputs[1].split(", ") if inputs else []))
    return found


def test_dry_run_takes_less_than_five_seconds_of_cpu(dry_run: tuple[str, float]) -> None:
    assert dry_run[1] < 5


def jobs_of_plan(config: str) -> set[str]:
    """Return the jobs of a run of one seed as `planned` names them."""
    jobs = {
        job.stage.replace(".", "_") + (f" {job.variant}" if is_wild(job.stage) else "")
        for job in planned_jobs(read_config(ROOT / config))
    }
    return jobs | {"render_dbnas", "render_denoising_student", "render_act", "render_summary"}


def test_jobs_are_those_of_the_plan(dry_run: tuple[str, float]) -> None:
    assert planned(dry_run[0]) == jobs_of_plan(SMOKE)


def test_no_classifier_where_inception_gives_the_features(fresh: Checkout) -> None:
    """The papers' CIFAR-10 run: all of its jobs, and what its evaluation reads."""
    output = fresh.snakemake("all", "-n", "--configfile", "config/cifar10.yaml").stdout
    assert planned(output) == jobs_of_plan("config/cifar10.yaml")
    assert "classifier_train" not in planned(output)
    assert not any("classifier" in path for _, inputs in blocks(output) for path in inputs)


def is_wild(stage: str) -> bool:
    """Tell whether the stage's variant is a wildcard: those of a data set are fixed by the run."""
    return stage == "evaluation.measure" or stage.split(".")[0] not in (
        "data",
        "classifier",
        "teacher",
        "evaluation",
    )


def test_only_evaluation_reads_the_classifier_and_the_report_split(
    dry_run: tuple[str, float],
) -> None:
    readers: dict[str, set[str]] = {"/classifier/": set(), "report.npz": set(), "search.npz": set()}
    for rule, inputs in blocks(dry_run[0]):
        for part, rules in readers.items():
            if any(part in path for path in inputs):
                rules.add(rule)
    assert readers["/classifier/"] == {"evaluation_reference", "evaluation_measure"}
    assert readers["report.npz"] == {"evaluation_reference"}
    assert readers["search.npz"] == {"dbnas_search"}


def test_pages_read_no_model(dry_run: tuple[str, float]) -> None:
    pages = [inputs for rule, inputs in blocks(dry_run[0]) if rule.startswith("render_")]
    assert len(pages) == 4
    assert all(
        path.endswith((".json", ".jsonl", ".csv", ".png")) for page in pages for path in page
    )


def rule_texts() -> dict[str, str]:
    texts = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"\n(?=rule \w+:)", path.read_text())[1:]:
            name = re.match(r"rule (\w+):", block)
            assert name
            texts[name[1]] = block
    return texts


def test_every_stage_has_a_rule_of_its_name() -> None:
    rules = set(rule_texts()) - {"tables", "figures"}
    pages = {name for name in rules if name.startswith("render_")}
    assert rules - pages == {stage.replace(".", "_") for stage in STAGES}


@pytest.mark.parametrize("name", sorted(set(rule_texts()) - {"tables", "figures"}))
def test_rule_declares_what_every_rule_declares(name: str) -> None:
    text = rule_texts()[name]
    stage = re.sub(
        "^(data|classifier|teacher|evaluation|dbnas|denoising_student|act|render)_", r"\1.", name
    )
    for directive in ("log:", "benchmark:", "conda:", "resources:", "shell:"):
        assert f"    {directive}" in text
    assert "    threads: 1\n" in text
    assert "mem_mb=" in text
    assert "runtime=" in text
    page = stage.startswith("render.")
    config = (
        f'page_settings_of("{stage.removeprefix("render.")}")'
        if page
        else f'settings_of("{stage}")'
    )
    params = re.search(r"    params:\n((?:        .*\n)+)", text)
    assert params
    assert params[1].split() == [f"config={config},", f'code=code_of("{stage}"),']
    assert f"python -m slimgen {stage} --settings" in text
    assert "directory(" not in text
    assert "lambda" not in text
