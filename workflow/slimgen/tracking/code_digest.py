"""Digest of the code that a stage runs: the syntax trees of all modules it imports, docstrings out.

Comments, formatting and docstrings do not count; neither do the classes of the `config` room (their
effect is tracked through the settings: a module of it counts where it has functions alone) and
`__init__.py` files (they hold docstrings and names only).
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def code_digest(module: str) -> str:
    """Return the sha256 over `module` and every slimgen module that it imports, directly or not.

    Imports inside functions count. Raises ModuleNotFoundError for an unknown module.
    """
    sha = hashlib.sha256()
    for name in sorted(import_closure(module)):
        sha.update(f"{name}\n{ast.unparse(_tree(name))}\n".encode())
    return sha.hexdigest()


def import_closure(module: str) -> frozenset[str]:
    """Return the names of all slimgen modules reached from `module`, itself included."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen and _counts(name):
            seen.add(name)
            todo.extend(_imports(name))
    return frozenset(seen)


def module_path(name: str) -> Path:
    """Return the source file of a slimgen module.

    Raises ModuleNotFoundError where there is none.
    """
    base = ROOT.joinpath(*name.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    raise ModuleNotFoundError(name)


def _counts(name: str) -> bool:
    if module_path(name).name == "__init__.py":
        return False
    in_config = name.startswith("slimgen.config.")
    return not in_config or not any(isinstance(node, ast.ClassDef) for node in _tree(name).body)


@cache
def _tree(name: str) -> ast.Module:
    """Return the syntax tree of a module without its docstrings."""
    tree = ast.parse(module_path(name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return tree


@cache
def _imports(name: str) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(n for n in found if n.startswith("slimgen.") and _exists(n))


@cache
def _exists(name: str) -> bool:
    try:
        module_path(name)
    except ModuleNotFoundError:
        return False
    return True
