"""Imports that the collector passes over."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from slimgen.training.imports import import_to_stay


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "imported_to_stay.py"
    sys.modules.pop("imported_to_stay", None)
    gc.unfreeze()


def test_what_an_import_makes_is_never_looked_through(module: Path):
    module.write_text("import gc\ncollecting = gc.isenabled()\nnodes = [[] for _ in range(1000)]\n")
    imported = import_to_stay("imported_to_stay")
    assert not imported.collecting
    assert gc.isenabled()
    seen = {id(item) for item in gc.get_objects()}
    assert not seen & {id(node) for node in imported.nodes}


def test_a_module_that_is_there_already_changes_nothing(module: Path):
    module.write_text("")
    first = import_to_stay("imported_to_stay")
    frozen = gc.get_freeze_count()
    later = [[] for _ in range(1000)]
    assert import_to_stay("imported_to_stay") is first
    assert gc.get_freeze_count() <= frozen
    assert {id(item) for item in gc.get_objects()} >= {id(item) for item in later}


def test_a_failing_import_leaves_the_collector_on(module: Path):
    module.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_to_stay("imported_to_stay")
    assert gc.isenabled()


def test_a_process_that_ends_the_usual_way_has_no_complaints():
    code = (
        "from slimgen.training.imports import import_to_stay\n"
        "import_to_stay('slimgen.systems.shared.evaluation.measure')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
