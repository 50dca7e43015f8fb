"""The architecture, asserted over the syntax trees: see docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from slimgen.config.run import STAGES, Config
from slimgen.tracking.code_digest import import_closure
from slimgen.tracking.plan import PlannedJob, stage_module

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "workflow" / "slimgen"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py"))

LEVELS = (
    {"config"},
    {"data"},
    {"networks"},
    {"diffusion", "adversarial", "distillation", "search", "training"},
    {"evaluation"},
    {"systems"},
    {"stage_command"},
    {"__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# The run of a stage and its random streams: every room from `training`'s level on, and the readers.
SHARED = {"slimgen.training.job", "slimgen.training.seeding"}
# Rooms that only read files, and what they may import beside themselves.
READERS = {
    "render": {"config", "data", "render"},
    "tracking": {"config", "data", "tracking"},
}
# Modules that say what a file looks like, without torch: readers share them with the writers.
FORMATS = {"slimgen.render.outputs", "slimgen.evaluation.record"}
NO_TORCH = ("render", "tracking", "search", "config")


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "slimgen"


def imports(path: Path, *, top: bool = False) -> Iterator[tuple[str, int]]:
    """Yield every imported module with its line; with `top`, only those that importing runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in top_statements(tree) if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module or "", node.lineno


def top_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what runs at import: not the insides of functions, not `if TYPE_CHECKING:`."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        todo.extend(ast.iter_child_nodes(node))


def allowed(importer: str, imported: str) -> bool:
    """Tell whether one module of slimgen may import another."""
    a, b = room(importer), room(imported)
    if a == b:
        return True
    if imported in SHARED:
        return LEVEL.get(a, LEVEL["training"]) >= LEVEL["training"]
    if a in ("stage_command", "__main__"):
        return True
    if a in READERS:
        return b in READERS[a] or imported in FORMATS
    return b in LEVEL and LEVEL[b] < LEVEL[a]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_run_one_way(path: Path) -> None:
    name = module(path)
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {imported}"
        for imported, line in imports(path)
        if imported.startswith("slimgen.")
        and not typing_only(path, line)
        and not allowed(name, imported)
    ]
    assert wrong == []


def typing_only(path: Path, line: int) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return node.lineno <= line <= (node.end_lineno or node.lineno)
    return False


@pytest.mark.parametrize("path", [p for p in FILES if "systems" in p.parts], ids=module)
def test_systems_never_import_systems(path: Path) -> None:
    system = module(path).split(".")[2:3]
    for imported, line in imports(path):
        if imported.startswith("slimgen.systems."):
            assert imported.split(".")[2:3] == system, f"{path}:{line}: {imported}"


@pytest.mark.parametrize("name", NO_TORCH)
def test_rooms_that_import_no_torch(name: str) -> None:
    heavy = {"torch", "torchvision", "diffusers", "torch_fidelity", "cleanfid"}
    paths = {module(path): path for path in FILES}
    for start in [n for n in paths if room(n) == name]:
        todo, seen = [start], set[str]()
        while todo:
            current = todo.pop()
            if current in seen or current not in paths:
                continue
            seen.add(current)
            for imported, line in imports(paths[current], top=True):
                assert imported.split(".")[0] not in heavy, (
                    f"{start} reaches {imported} through {paths[current]}:{line}"
                )
                todo.append(imported)


def test_code_imports_modules_by_full_path() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slimgen"):
                target = PACKAGE.parent.joinpath(*(node.module or "").split("."))
                if target.is_dir() and not all(
                    target.joinpath(f"{alias.name}.py").exists() for alias in node.names
                ):
                    wrong.append(f"{path}:{node.lineno}: {node.module}")
    assert wrong == []


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name == "__init__.py"], ids=lambda p: module(p)
)
def test_init_files_hold_a_docstring_and_names(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        is_name = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("__")
        assert is_name or isinstance(node, ast.Import | ast.ImportFrom), f"{path}:{node.lineno}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_in_four_places(stage: str) -> None:
    section, name = stage.split(".")
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert f"\nrule {section}_{name}:\n" in rules
    path = PACKAGE.parent.joinpath(*stage_module(stage).split(".")).with_suffix(".py")
    functions = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert functions[-1].name == name, "the public entry is the last function"
    assert [argument.arg for argument in functions[-1].args.args] == ["settings", "job"]
    annotation = Config.model_fields[section].annotation
    kinds = [kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")]
    assert name in kinds[0].model_fields
    folder = PlannedJob(stage, "v", 0).folder.as_posix()
    measures = name in ("measure", "translate")
    expected = f"{section}/v/seed0" if measures else f"{section}/{name}/v/seed0"
    assert folder == expected
    if not measures:
        assert f'"<results>/{section}/{name}/' in rules


def test_every_module_of_a_system_is_used_by_a_stage() -> None:
    used = {name for stage in STAGES for name in import_closure(stage_module(stage))}
    systems = {module(p) for p in FILES if "systems" in p.parts and p.name != "__init__.py"}
    assert systems <= used


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_module_over_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_no_module_is_named_utils() -> None:
    assert [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")] == []


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


def test_workflow_is_no_package() -> None:
    """`workflow` is Snakemake's own global."""
    assert not (ROOT / "workflow" / "__init__.py").exists()


def test_profiles_hold_no_cores_by_default() -> None:
    profile = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    assert "cores" not in profile
    assert "code" not in profile["rerun-triggers"]
