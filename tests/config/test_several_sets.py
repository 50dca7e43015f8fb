"""Several data sets and classifiers in one run: what follows from what, and wrong names."""

from __future__ import annotations

from typing import Any

import pytest

from slimgen.config.base import deep_merge
from slimgen.config.run import ConfigError, load, stage_settings
from slimgen.tracking.plan import REWARD_SEED, planned_jobs

RUN: dict[str, Any] = {
    "run": "x",
    "dataset": "digits",
    "data": {"prepare": {"variants": {"patches": {"source": {"kind": "photo_patches"}}}}},
    "autogan": {
        "search": {"variants": {"autogan": {}}},
        "student": {"variants": {"autogan": {}}},
        "transfer": {"variants": {"autogan": {"dataset": "patches"}}},
    },
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return deep_merge(RUN, changes)


def test_a_transfer_brings_its_data_set_with_classifier_and_reference() -> None:
    jobs = {(job.stage, job.variant): job.seed for job in planned_jobs(load(RUN))}
    assert jobs["data.prepare", "patches"] is None
    assert jobs["evaluation.reference", "patches"] is None
    trained = {name: seed for (stage, name), seed in jobs.items() if stage == "classifier.train"}
    assert trained == {"digits": 0, "patches": 0, "reward": REWARD_SEED}
    assert jobs["evaluation.measure", "autogan/transfer-autogan"] == 0


def test_the_classifier_that_rewards_keeps_its_images_where_it_is_given_in_part() -> None:
    given = {"classifier": {"train": {"steps": 7, "variants": {"reward": {"features": 9}}}}}
    settings: Any = stage_settings(load(changed(given)), "classifier.train", "reward")
    assert (settings.dataset, settings.images) == ("digits", "reward")
    assert (settings.steps, settings.features) == (7, 9)
    plain: Any = stage_settings(load(changed(given)), "classifier.train", "digits")
    assert (plain.images, plain.features) == ("train", 64)


def test_a_variant_may_have_a_source_of_another_kind() -> None:
    given = {"data": {"prepare": {"source": {"kind": "folder", "path": "p", "channels": 1}}}}
    config = load(changed(given))
    patches: Any = stage_settings(config, "data.prepare", "patches")
    digits: Any = stage_settings(config, "data.prepare", "digits")
    assert patches.source.model_dump() == {"kind": "photo_patches", "size": 8, "shrink": 2}
    assert digits.source.channels == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"classifier": {"train": {"variants": {"reward": {"dataset": "nope"}}}}},
            r"classifier\.train\.variants\.reward\.dataset = 'nope': no such name; it can be",
        ),
        (
            {"classifier": {"train": {"variants": {"extra": {}}}}},
            r"classifier\.train\.variants\.extra\.dataset = 'extra': no such name; it can be",
        ),
        (
            {"autogan": {"transfer": {"variants": {"autogan": {"dataset": "nope"}}}}},
            r"autogan\.transfer\.variants\.autogan\.dataset = 'nope': no such name; it can be",
        ),
        (
            {"autogan": {"search": {"variants": {"autogan": {"reward": "nope"}}}}},
            r"autogan\.search\.variants\.autogan\.reward = 'nope': no such name; it can be",
        ),
        (
            {"autogan": {"student": {"variants": {"transfer-x": {}}}}},
            r"transfer-\.\.\. are the rows of autogan\.transfer",
        ),
    ],
)
def test_wrong_names_are_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        load(changed(changes))
    assert "\n" not in str(caught.value)
