"""What the rules say to a cluster: requests that grow with the attempt; pages that stay here."""

from __future__ import annotations

import re

import pytest
import yaml
from checkout import ROOT

from slimgen.tracking.slurm_site import ON_GPU, Site
from slimgen.training.launch import PARALLEL

RULES = {
    match[1]: match[0]
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for match in re.finditer(r"^rule (\w+):\n(?:(?: .*)?\n)+", path.read_text(), re.M)
    if "shell:" in match[0]
}


@pytest.mark.parametrize("rule", RULES)
def test_a_page_is_local_and_a_stage_asks_for_more_at_every_attempt(rule: str) -> None:
    text = RULES[rule]
    assert ("localrule: True" in text) == rule.startswith("render_")
    if not rule.startswith("render_"):
        assert re.search(r"mem_mb=more_memory\(\d+\)", text)
        assert re.search(r"runtime=more_time\(\d+\)", text)
    assert "retries:" not in text  # the directive retries within the same allocation


def test_every_rule_that_measures_a_row_shares_jobs_of_the_cluster() -> None:
    """A thousand measurements are a hundred entries of the queue."""
    measuring = {rule for rule, text in RULES.items() if "/evaluation/{system}/{row}/" in text}
    assert set(Site().groups) == measuring
    assert set(Site().components) == set(Site().groups.values())


@pytest.mark.parametrize("rule", RULES)
def test_a_stage_that_takes_shares_is_told_its_gpus(rule: str) -> None:
    told = "--gpus {resources.gpu:q}" in RULES[rule]
    assert told == (rule in [stage.replace(".", "_") for stage in PARALLEL])


def test_a_site_knows_the_rules_that_ask_for_a_gpu() -> None:
    assert set(ON_GPU) == {rule for rule, text in RULES.items() if "gpu=1," in text}


def test_jobs_come_back_as_new_ones_and_as_the_same() -> None:
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    assert profile["retries"] >= 20
    assert profile["slurm-requeue"] is True


def test_there_are_rules() -> None:
    assert {"teacher_train", "evaluation_measure", "render_summary"} <= set(RULES)
