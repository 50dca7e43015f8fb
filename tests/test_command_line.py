"""The front door: help that names commands and inputs, a full disk in one line."""

import sys

import pytest

from slimgen import __main__ as door


def said(monkeypatch, capsys, *words: str) -> tuple[object, str]:
    monkeypatch.setattr(sys, "argv", ["slimgen", *words])
    with pytest.raises(SystemExit) as end:
        door.main()
    captured = capsys.readouterr()
    return end.value.code, captured.out + captured.err


def test_help_names_the_commands(monkeypatch, capsys):
    code, text = said(monkeypatch, capsys, "--help")
    assert code == 0
    for command in ("run [", "status", "check FILE", "sample --model", "dbnas.search"):
        assert command in text


def test_help_of_a_stage_names_its_inputs(monkeypatch, capsys):
    code, text = said(monkeypatch, capsys, "dbnas.search", "--help")
    assert code == 0
    assert "Its inputs: --supernet PATH --teacher PATH --data PATH [--like PATH]" in text


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_is_one_line(monkeypatch, capsys, kind):
    def full(_argv: list[str]) -> int:
        raise kind("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(door, "run_command", full)
    code, _ = said(monkeypatch, capsys, "status")
    assert code == "slimgen: no space left on device: make room and start again"


def test_other_errors_keep_their_traceback(monkeypatch):
    def broken(_argv: list[str]) -> int:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(door, "run_command", broken)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        door.main()
