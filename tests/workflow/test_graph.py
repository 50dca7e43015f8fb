"""The graph of the real Snakefile: which jobs there are, what they read, what the rules declare."""

from __future__ import annotations

import re
import resource

import pytest
from checkout import ROOT, SMOKE, Checkout, planned

from slimgen.config.run import STAGES, Config, read_config
from slimgen.tracking.plan import pages, planned_jobs

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def run_timed(fresh: Checkout, *words: str) -> tuple[str, float]:
    """Run Snakemake; return what it said and its CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = fresh.snakemake(*words).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def dry_run(fresh: Checkout) -> tuple[str, float]:
    return run_timed(fresh, "all", "-n", "--configfile", SMOKE)


def blocks(output: str) -> list[tuple[str, list[str]]]:
    """Return (rule, inputs) of every planned job."""
    found = []
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", output)[1:]:
        inputs = re.search(r"^    input: (.*)$", block, re.M)
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule
        found.append((rule[1], inputs[1].split(", ") if inputs else []))
    return found


def test_dry_run_costs_little_more_than_snakemake_itself(
    fresh: Checkout, dry_run: tuple[str, float]
) -> None:
    """No torch in a Snakefile, nothing read twice: about 3 times an empty one."""
    empty = fresh.path / "empty.smk"
    empty.write_text("rule nothing:\n")
    _, least = run_timed(fresh, "-n", "--snakefile", str(empty), "nothing")
    assert dry_run[1] < 5 * least


def jobs_of_plan(config: str) -> set[str]:
    """Return the jobs of a run of one seed as `planned` names them."""
    run = read_config(ROOT / config)
    jobs = {
        job.stage.replace(".", "_")
        + (f" {job.variant}" if job.stage != "teacher.train" else "")  # fixed by the run
        + (f" seed{job.seed}" if job.seed else "")
        for job in planned_jobs(run)
    }
    return jobs | {f"render_{page}" for page in pages(run)}


def test_jobs_are_those_of_the_plan(dry_run: tuple[str, float]) -> None:
    assert planned(dry_run[0]) == jobs_of_plan(SMOKE)


def test_no_classifier_reports_where_inception_gives_the_features(fresh: Checkout) -> None:
    """The papers' CIFAR-10 run: all of its jobs, and what its evaluation reads."""
    output = fresh.snakemake("all", "-n", "--configfile", "config/cifar10.yaml").stdout
    assert planned(output) == jobs_of_plan("config/cifar10.yaml")
    trained = {job for job in planned(output) if job.startswith("classifier_train")}
    assert trained == {"classifier_train reward seed1"}
    readers = {r for r, inputs in blocks(output) if any("/classifier/" in path for path in inputs)}
    assert readers == {"autogan_search", "autogan_student"}


def test_only_evaluation_reads_the_classifier_and_the_report_split(
    dry_run: tuple[str, float],
) -> None:
    parts = ("/classifier/train/digits/", "/classifier/train/reward/", "report.npz", "search.npz")
    readers: dict[str, set[str]] = {part: set() for part in parts}
    for rule, inputs in blocks(dry_run[0]):
        for part, rules in readers.items():
            if any(part in path for path in inputs):
                rules.add(rule)
    reporting, rewarding, report, search = readers.values()
    assert reporting == {"evaluation_reference", "evaluation_measure", "evaluation_translate"}
    assert rewarding == {"autogan_search", "autogan_student", "gan_compression_search"}
    assert report == {"evaluation_reference", "evaluation_translate"}
    assert search == {"dbnas_search", "classifier_train", "gan_compression_search"}


def test_each_classifier_reads_its_own_images(dry_run: tuple[str, float]) -> None:
    found = {
        re.search(r"prepare/(\w+)/", inputs[0])[1]  # type: ignore[index]
        + ("+" if any("search.npz" in path for path in inputs) else "")
        for rule, inputs in blocks(dry_run[0])
        if rule == "classifier_train"
    }
    assert found == {"digits", "digits+", "photo_patches"}


def test_a_transfer_reads_and_is_compared_with_the_second_data_set(
    dry_run: tuple[str, float],
) -> None:
    (inputs,) = (inputs for rule, inputs in blocks(dry_run[0]) if rule == "autogan_transfer")
    assert {path for path in inputs if path.endswith(".npz")} == {
        "results/smoke/data/prepare/photo_patches/train.npz"
    }
    (measured,) = (
        inputs
        for rule, inputs in blocks(dry_run[0])
        if rule == "evaluation_measure" and any("autogan/transfer" in path for path in inputs)
    )
    others = {path for path in measured if "autogan/transfer" not in path}
    assert all("photo_patches" in path for path in others)
    assert len(others) == 3  # reference, config and weights of the classifier


def test_pages_read_no_model(dry_run: tuple[str, float]) -> None:
    read = [inputs for rule, inputs in blocks(dry_run[0]) if rule.startswith("render_")]
    assert len(read) == len(pages(read_config(ROOT / SMOKE)))
    assert all(path.endswith((".json", ".jsonl", ".csv", ".png")) for page in read for path in page)


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
    sections = "|".join([*Config.model_fields, "render"])
    stage = re.sub(f"^({sections})_", r"\1.", name)
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
