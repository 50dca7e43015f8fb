"""What the library never does with files and words that a user or a stranger supplies.

What is refused where stands beside its code: archives in tests/data/test_sources.py, addresses in
tests/data/test_download.py, model folders in tests/diffusion/test_saved.py, names in
tests/workflow/test_workflow_faults.py.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "workflow" / "slimgen").rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNPACKS = {"extractall", "unpack_archive"}
RUNS_WORDS = {"eval", "exec", "compile", "system", "popen", "getoutput", "getstatusoutput"}


def name_of(function: ast.expr) -> str:
    """Return `np.load` as it stands."""
    return ast.unparse(function)


def faults(text: str) -> Iterator[str]:
    """Yield what a module does that none may do."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from (f"import {name}" for name in modules if name.split(".")[0] in PICKLES)
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        last = name.rpartition(".")[2]
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in ("torch.load", "torch.jit.load", "pd.read_pickle", "pandas.read_pickle"):
            yield name  # pickles, and TorchScript, which is code
        if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            yield f"{name} without allow_pickle=False"
        if given.get("allow_pickle") == "True":
            yield f"{name} with allow_pickle=True"
        if last in UNPACKS or (last == "extract" and ("tarfile" in text or "zipfile" in text)):
            yield name  # archives are read in place; `extract` is also what networks do
        if name.startswith("yaml.") and last not in ("safe_load", "safe_dump"):
            yield name
        if name in RUNS_WORDS or (name.startswith(("os.", "subprocess.")) and last in RUNS_WORDS):
            yield name
        if given.get("shell", "False") != "False":
            yield f"{name} with a shell"
        if given.get("trust_remote_code", "False") != "False" or "custom_pipeline" in given:
            yield f"{name} with code of a stranger"
        if last == "from_pretrained" and given.get("use_safetensors") != "True":
            yield f"{name} without use_safetensors=True"
        if last == "snapshot_download" and "allow_patterns" not in given:
            yield f"{name} of all files"


@pytest.mark.parametrize(
    "path", LIBRARY, ids=[str(path.relative_to(ROOT / "workflow" / "slimgen")) for path in LIBRARY]
)
def test_no_module_unpickles_unpacks_or_runs_words(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(folder)",
        "tarfile.open(path).extract(name)",
        "yaml.load(text, Loader)",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "Net.from_pretrained(folder)",
        "DiffusionPipeline.from_pretrained(f, use_safetensors=True, custom_pipeline=x)",
        "snapshot_download(name)",
    ],
)
def test_the_search_sees_what_it_looks_for(line):
    assert list(faults(line))


def commands(path: Path) -> Iterator[str]:
    """Yield the shell command of every rule."""
    text = path.read_text(encoding="utf-8")
    for part in text.split("    shell:\n")[1:]:
        lines = []
        for line in part.splitlines():
            if not line.startswith("        "):
                break
            lines.append(line.strip())
        yield " ".join(lines)


def test_every_word_of_a_rule_s_command_is_quoted():
    """`:q` quotes for the shell; wildcards and the run's name hold letters, digits, - and _."""
    found = [command for path in RULES for command in commands(path)]
    assert len(found) >= 12
    for command in found:
        for word in re.findall(r"\{+([^{}]+)\}+", command):
            plain = word.startswith("wildcards.") or word == "RESULTS"
            assert plain or word.endswith(":q"), command


@pytest.mark.parametrize(
    ("target", "variable", "word"),
    [
        ("demo", "CONFIG", "{}"),
        ("demo", "SEEDS", "seeds={}"),
        *((target, "CONFIG", "{}") for target in ("track", "published")),
        *((target, "NAME", "{}") for target in ("status", "verify")),
    ],
)
def test_make_hands_a_name_on_as_one_word(tmp_path, target, variable, word):
    """The real Makefile; in Python's place stands a script that shows its words."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    script = tmp_path / "bin" / "python"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    script.chmod(0o755)
    name = """it's a "name"; touch hacked; .yaml"""
    done = subprocess.run(
        ["make", "--no-print-directory", target, f"{variable}={name}", "READY=", "BIN=bin"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == word.format(name)
    assert not (tmp_path / "hacked").exists()
