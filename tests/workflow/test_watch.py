"""`run` and `status`: progress from files, failures told, interrupts passed on, nothing to do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from checkout import SMOKE, Checkout, data_alone, slimgen

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def test_failure_names_rule_log_and_code(fresh: Checkout) -> None:
    child = slimgen(fresh, "run", *data_alone("fails"), STAND_IN_FAILS="data.prepare")
    _, errors = child.communicate()
    assert child.returncode == 1
    assert "rule data_prepare failed (exit code 3)" in errors
    assert "logs/fails/data/prepare/digits.log" in errors
    assert "  the loss is not finite" in errors
    assert "exit code 1; all it said: logs/snakemake.log" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_lets_jobs_save_and_says_how_to_go_on(
    fresh: Checkout, number: signal.Signals
) -> None:
    run = f"stops-{number.name.lower()}"
    child = slimgen(fresh, "run", *data_alone(run), STAND_IN_WAITS="data.prepare")
    state = fresh.path / "runs" / run / "data" / "prepare" / "digits"
    wait_for(state / "progress.json", child)
    shown = slimgen(fresh, "status", "--run", run).communicate()[0]
    assert "digits running" in " ".join(shown.replace("│", " ").split())
    assert "123 img/s" in shown
    assert "1:15" in shown
    os.kill(child.pid, number)
    said, errors = child.communicate(timeout=30)
    assert child.returncode != 0
    assert "the same command goes on" in said, errors
    assert json.loads((state / "saved.json").read_text())["step"] >= 1
    shown = slimgen(fresh, "status", "--run", run).communicate()[0]
    assert "digits stopped" in " ".join(shown.replace("│", " ").split())
    # The same command goes on (here: the stand-in no longer waits).
    child = slimgen(fresh, "run", *data_alone(run))
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    assert "1 jobs in" in said


def wait_for(path: Path, child: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_wrong_config_ends_with_its_line(fresh: Checkout) -> None:
    child = slimgen(fresh, "run", "--cores", "1", "--config", "seeds=0")
    _, errors = child.communicate()
    assert child.returncode == 1
    assert "config: seeds = 0: at least one seed is needed" in errors


@pytest.mark.parametrize("content", [None, "", "- a"])
def test_config_that_is_none_is_named(fresh: Checkout, content: str | None) -> None:
    if content is not None:
        (fresh.path / "none.yaml").write_text(content)
    child = slimgen(fresh, "run", "all", "--cores", "1", "--configfile", "none.yaml")
    _, errors = child.communicate()
    assert child.returncode == 1
    assert errors.startswith("slimgen: none.yaml: ")
    assert len(errors.splitlines()) == 1
    (fresh.path / "none.yaml").unlink(missing_ok=True)


def test_finished_run_starts_nothing_and_shows_where_results_are(finished: Checkout) -> None:
    arguments = ["run", "all", "--cores", "2", "--configfile", SMOKE]
    began = time.monotonic()
    child = slimgen(finished, *arguments)
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    assert "nothing to do: everything is up to date" in said
    for place in ("report.html", "tables", "figures"):
        assert f"results/smoke/{place}" in said
        assert (finished.path / "results" / "smoke" / place).exists()
    report = finished.path / "results" / "smoke" / "report.html"
    caption = (finished.path / "workflow" / "report" / "act.rst").read_text()
    assert " ".join(caption.split()[:4]) in report.read_text()
    written = report.stat().st_mtime_ns
    assert time.monotonic() - began < 60
    slimgen(finished, *arguments).communicate()
    assert report.stat().st_mtime_ns == written


def test_results_shown_are_those_of_the_run_that_was_asked_for(finished: Checkout) -> None:
    other = finished.path / "logs" / "other" / "config.json"  # a run that was started later
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"run": "other", "dataset": "digits"}))
    try:
        child = slimgen(finished, "run", "all", "--cores", "2", "--configfile", SMOKE)
        said, errors = child.communicate()
    finally:
        other.unlink()
    assert child.returncode == 0, errors
    assert "results/smoke/tables" in said


def test_status_of_a_finished_run(finished: Checkout) -> None:
    said = slimgen(finished, "status", "--run", "smoke").communicate()[0]
    assert re.search(r"smoke: (\d+) of \1 jobs done", said)


def test_status_sees_changed_settings(finished: Checkout) -> None:
    recorded = finished.path / "logs" / "smoke" / "config.json"
    text = recorded.read_text()
    config = json.loads(text)
    config["act"]["student"]["steps"] = 9
    recorded.write_text(json.dumps(config))
    try:
        said = slimgen(finished, "status", "--run", "smoke").communicate()[0]
    finally:
        recorded.write_text(text)
    assert "0/4 (4 changed)" in said


def test_unknown_run_is_named(fresh: Checkout) -> None:
    child = slimgen(fresh, "status", "--run", "nope")
    _, errors = child.communicate()
    assert child.returncode == 1
    assert "--run nope: no such run; there are" in errors
