"""Defaults are not tracked, so changing one that changes results must raise the stage's `revision`.

golden_defaults.json holds the defaults of every stage, and those that a preset or a task moves.
Write it anew with
`python tests/config/test_golden_defaults.py`, which refuses a changed default of an equal revision.
"""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slimgen.config.base import NO_RESULT, difference
from slimgen.config.run import STAGES

GOLDEN = Path(__file__).with_name("golden_defaults.json")
LABELS = ("preset", "task")  # settings whose value moves the defaults of others


def current() -> dict[str, dict[str, Any]]:
    """Return `stage` or `stage label` -> its complete defaults."""
    defaults = {}
    for stage, settings in STAGES.items():
        defaults[stage] = settings().model_dump(mode="json", by_alias=True)
        for label in LABELS:
            field = settings.model_fields.get(label)
            for name in typing.get_args(field.annotation) if field else ():
                try:
                    values = settings(**{label: name})
                except ValidationError:  # one that needs another key beside it has no defaults
                    continue
                defaults[f"{stage} {name}"] = values.model_dump(mode="json", by_alias=True)
    return defaults


def faults(golden: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the changed defaults whose stage kept its revision."""
    lines = []
    for stage, before in golden.items():
        after = now.get(stage)
        if after is None or after["revision"] > before["revision"]:
            continue
        known = {key: after[key] for key in before if key in after and key not in NO_RESULT}
        lines += [f"{stage}.{key}" for key in difference(known, before)]
    return lines


def test_a_changed_default_raises_the_revision() -> None:
    assert faults(json.loads(GOLDEN.read_text()), current()) == []


def test_the_golden_file_is_current() -> None:
    assert json.loads(GOLDEN.read_text()) == current(), f"run: python {Path(__file__).name}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"steps": 7}, ["teacher.train.steps"]),
        ({"optimizer": {"lr": 1.0}}, ["teacher.train.optimizer"]),
        ({"steps": 7, "revision": 2}, []),
        ({"brand_new": 7}, []),
        ({"checkpoint_seconds": 7.0}, []),  # changes no result
    ],
)
def test_the_check_sees_a_change(change: dict[str, Any], expected: list[str]) -> None:
    golden = {"teacher.train": current()["teacher.train"]}
    assert faults(golden, {"teacher.train": golden["teacher.train"] | change}) == expected


if __name__ == "__main__":
    if GOLDEN.exists() and (wrong := faults(json.loads(GOLDEN.read_text()), current())):
        raise SystemExit(f"raise the revision first: {', '.join(wrong)}")
    GOLDEN.write_text(json.dumps(current(), indent=1) + "\n")
