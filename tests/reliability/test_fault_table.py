"""docs/reliability.md names tests that are there, and every row names one."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def rows() -> list[str]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith(("| fault |", "| attack |"))]


def test_every_row_names_tests_that_exist():
    assert len(rows()) >= 25
    for row in rows():
        file = ""
        names = re.findall(r"`([\w/]*?(?:\.py)?)::(\w+)`", row.rsplit("|", 2)[1])
        assert names, row
        for path, name in names:
            file = path or file
            text = (TESTS / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", text, re.M), f"{file}::{name}"


def test_every_test_of_the_fault_files_stands_in_the_table():
    """Two have no fault: they check the tests themselves."""
    about_tests = {
        "test_every_stage_is_killed_and_fifty_times_in_all",
        "test_the_search_sees_what_it_looks_for",
    }
    for name in ("reliability/test_kill_and_resume", "reliability/test_machine_faults"):
        found = re.findall(r"^def (test_\w+)\(", (TESTS / f"{name}.py").read_text(), re.M)
        for test in set(found) - about_tests:
            assert test in PAGE, test
