"""The config files that come with the repository, and the schema generated for them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from slimgen.config.run import parse_settings, read_config, stage_settings, tracked
from slimgen.config.schema import schema_text
from slimgen.tracking.plan import planned_jobs

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "config").glob("*.yaml"))
SMOKE = ROOT / "tests" / "workflow" / "smoke.yaml"


def test_run_names_are_unique() -> None:
    names = [read_config(path).run for path in [*FILES, SMOKE]]
    assert len(set(names)) == len(names)


def test_schema_is_current() -> None:
    assert (ROOT / "config" / "schema.json").read_text() == schema_text(), (
        "run: python -m slimgen schema"
    )


@pytest.mark.parametrize("path", [*FILES, SMOKE], ids=lambda path: path.stem)
def test_files_fit_the_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema_text()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"foo": 1},
        {"seeds": 0},
        {"dbnas": {"search": {"r": 0.5}}},
        {"dbnas": {"search": {"variants": {"S1": {"r": 0.5}}}}},
        {"dbnas": {"search": {"variants": {"S1": {"q": 1}}}}},
    ],
)
def test_schema_refuses_what_the_config_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"run": "x", "dataset": "digits"} | wrong, json.loads(schema_text()))


@pytest.mark.parametrize("path", [*FILES, SMOKE], ids=lambda path: path.stem)
def test_tracked_settings_complete_to_the_same(path: Path) -> None:
    config = read_config(path)
    for job in planned_jobs(config):
        settings = stage_settings(config, job.stage, job.variant)
        assert parse_settings(job.stage, tracked(settings)) == settings, job.name


@pytest.mark.parametrize(
    "path", [path for path in FILES if read_config(path).minutes], ids=lambda path: path.stem
)
def test_promised_minutes_hold_the_measured_seconds(path: Path) -> None:
    """At most 80 % of what two cores do in the promised time, every job counted.

    Two one-thread jobs side by side do 1.63 CPU-seconds of work a second (docs/performance.md).
    """
    config = read_config(path)
    assert config.minutes is not None
    jobs = [f"{job.stage}/{job.variant}" for job in planned_jobs(config)]
    assert [job for job in jobs if job not in config.cpu_seconds] == []
    assert [name for name in config.cpu_seconds if name not in jobs] == []
    assert sum(config.cpu_seconds[job] for job in jobs) <= 0.8 * 1.63 * 60 * config.minutes
