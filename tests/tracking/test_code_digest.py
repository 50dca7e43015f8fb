"""The digest of a stage's code: what counts and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimgen.tracking import code_digest as module

FILES = {
    "a.py": '"""Doc."""\nfrom __future__ import annotations\n\n\ndef f(x):\n    """Doc."""\n'
    "    from slimgen.b import g\n\n    return g(x)\n",
    "b.py": "from slimgen.config.c import C\nfrom slimgen.config.d import d\n\n\n"
    "def g(x):\n    return x + 1\n",
    "unused.py": "X = 1\n",
    "config/__init__.py": "",
    "config/c.py": "class C:\n    LIMIT = 1\n",
    "config/d.py": "def d(x):\n    return x + 1\n",
    "__init__.py": "",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def digest() -> str:
    for cached in (module.code_digest, module._tree, module._imports, module._exists):
        cached.cache_clear()
    return module.code_digest("slimgen.a")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.py", '"""Doc."""', '"""Another."""'),
        ("a.py", "    return g(x)", "    # a reason\n    return (\n        g(x)\n    )"),
        ("unused.py", "1", "2"),
        ("config/c.py", "1", "2"),  # its effect is tracked through the settings
        ("__init__.py", "", '"""Doc."""'),
    ],
)
def test_what_does_not_count(package: Path, name: str, old: str, new: str) -> None:
    before = digest()
    text = (package / name).read_text()
    (package / name).write_text(text.replace(old, new) if old else new)
    assert digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.py", "g(x)", "g(x) + 1"),
        ("b.py", "x + 1", "x + 2"),  # imported inside a function
        ("config/d.py", "x + 1", "x + 2"),  # no settings
    ],
)
def test_what_counts(package: Path, name: str, old: str, new: str) -> None:
    before = digest()
    (package / name).write_text((package / name).read_text().replace(old, new))
    assert digest() != before


def test_unknown_module_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        module.code_digest("slimgen.absent")
