"""Faults of a configuration as one line each: key path, value, what is allowed."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


class ConfigError(ValueError):
    """The configuration is wrong; the message names key path, value and what is allowed."""


class VariantsError(ValueError):
    """Faults inside `variants`: variant name -> pydantic's error and the settings that it met."""

    def __init__(
        self, faults: Mapping[str, tuple[ValidationError, Any]], model: type[BaseModel]
    ) -> None:
        super().__init__(f"faults in variants {', '.join(faults)}")
        self.faults = dict(faults)
        self.model = model


class WrongNameError(ValueError):
    """A section names what another does not hold; the message begins with the key path."""


def explain(
    error: ValidationError,
    prefix: str = "",
    *,
    model: type[BaseModel] | None = None,
    data: Any = None,
) -> list[str]:
    """Return one readable line per fault of a pydantic error.

    Args:
        error: what pydantic raised.
        prefix: key path of the faulty group, for example `dbnas.search`.
        model: class of the group; with it, an unknown key comes with those that are known.
        data: what was validated; with it, names of union branches are left out of key paths.
    """
    faults: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        parts = _real_keys(fault["loc"], data, absent=int(fault["type"] == "missing"))
        where = ".".join([prefix] * bool(prefix) + [str(part) for part in parts])
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, VariantsError):
            for name, (nested, settings) in cause.faults.items():
                path = ".".join([*([where] if where else []), "variants", name])
                for line in explain(nested, path, model=cause.model, data=settings):
                    faults[line] = []
        elif isinstance(cause, WrongNameError):
            faults[f"config: {cause}"] = []
        else:
            head = f"config: {where or 'top level'}{_shown(fault)}"
            faults.setdefault(head, []).append(_message(fault, model))
    return [
        f"{head}: {'; or '.join(dict.fromkeys(messages))}" if messages else head
        for head, messages in faults.items()
    ]


def _shown(fault: Any) -> str:
    value = fault.get("input")
    if fault["type"] in ("missing", "union_tag_not_found") or isinstance(value, dict):
        return ""
    text = repr(value)
    return f" = {text if len(text) <= 80 else text[:77] + '...'}"


def _message(fault: Any, model: type[BaseModel] | None) -> str:
    if fault["type"] == "missing":
        return "missing; it has no default"
    if fault["type"] == "extra_forbidden":
        known = _known_keys(model, fault["loc"][:-1]) if model else []
        return "unknown key" + (f"; it can be {', '.join(known)}" if known else "")
    if fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "a group of keys is needed here"
    if fault["type"] in ("tuple_type", "list_type"):
        return "a list is needed here, such as [a, b]"
    if fault["type"] == "string_pattern_mismatch":
        return f"it must be of the form {fault['ctx']['pattern']}"
    if fault["type"] == "union_tag_invalid":
        tag = fault["ctx"]
        return f"{tag['discriminator']} is {tag['tag']!r}; it can be {tag['expected_tags']}"
    if fault["type"] == "int_parsing" and (number := _whole(fault["input"])) is not None:
        return f"YAML reads this as text; write {number}"
    return re.sub(r"^Value error, ", "", fault["msg"])


def _whole(text: str) -> int | None:
    """Return the whole number that `1e6` means, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _real_keys(parts: tuple[int | str, ...], data: Any, absent: int) -> list[int | str]:
    """Leave out the names of union branches, which pydantic puts among the keys.

    The last `absent` parts are kept although the data do not hold them.
    """
    if data is None:
        return list(parts)
    kept: list[int | str] = []
    for index, part in enumerate(parts):
        found = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        )
        if not found and index < len(parts) - absent:
            continue
        data = data[part] if found else None
        kept.append(part)
    return kept


def _known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the group at `loc` below `model`, in their order."""
    groups = [model]
    for part in loc:
        found = [
            group
            for parent in groups
            for name, field in parent.model_fields.items()
            if part in (name, field.alias)
            for group in _groups(field.annotation)
        ]
        groups = found or groups  # a union branch is no key: stay
    return list(
        dict.fromkeys(
            field.alias or name for group in groups for name, field in group.model_fields.items()
        )
    )


def union_members(annotation: Any) -> list[Any]:
    """Return what a union is made of, at any depth; what is no union is its only member."""
    if get_origin(annotation) is Annotated:
        return union_members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for member in get_args(annotation) for kind in union_members(member)]
    return [annotation]


def _groups(annotation: Any) -> list[type[BaseModel]]:
    return [
        kind
        for kind in union_members(annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
