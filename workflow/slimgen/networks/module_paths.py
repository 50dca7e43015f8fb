"""Modules by their dotted path, with an answer that helps where a path is wrong."""

from __future__ import annotations

import difflib

from torch import nn


def module_at(network: nn.Module, path: str) -> nn.Module:
    """Return the module of a dotted path; raises ValueError listing near names."""
    modules = dict(network.named_modules())
    if path in modules and path:
        return modules[path]
    names = [name for name in modules if name]
    # A path may also be right but for what stands before it ("network.", "generator.").
    near = [name for name in names if name.endswith(f".{path}")][:5]
    near += [name for name in difflib.get_close_matches(path, names, n=5) if name not in near]
    hint = f"; near names: {', '.join(near)}" if near else ""
    raise ValueError(f"{type(network).__name__} has no module {path!r}{hint}")
