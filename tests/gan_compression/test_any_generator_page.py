"""The example of docs/any_generator.md runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "any_generator.md"


def test_the_example_runs(capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("('stem', 'trunk', 'inner', 'up') (12, 24, 12, 12)")
    ours, whole = (int(part) for part in lines[1].split(" of "))
    assert 0 < ours < whole / 2
