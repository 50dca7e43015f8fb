"""Every leaf of the config in turn: exactly the stage that reads it has another tracked string."""

from __future__ import annotations

import copy
import json
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union

import pytest
import yaml
from pydantic import BaseModel

from slimgen.config.base import Variants
from slimgen.config.rows import SYSTEMS
from slimgen.config.run import (
    STAGES,
    Config,
    ConfigError,
    load,
    stage_group,
    stage_settings,
    tracked,
)
from slimgen.tracking.plan import page_settings, pages, planned_jobs

SMOKE = Path(__file__).parents[1] / "workflow" / "smoke.yaml"
Path_ = tuple[str, ...]

# Leaves that need another key beside them, or one variant to change them in.
TOGETHER: dict[str, dict[str, Any]] = {
    "dbnas.supernet.preset": {"preset": "code", "order": "sequential"},
    "dbnas.supernet.widths": {"widths": [1.0, 0.5]},
    "dbnas.search.method": {"variants": {"S1": {"method": "random", "like": "S2"}}},
    "dbnas.search.like": {"variants": {"random": {"like": "S1"}}},
    "act.student.equal_macs_with": {"variants": {"act-noaug": {"equal_macs_with": "act"}}},
    "autogan.search.u_stage": {"u_stage": [1, 2, 3], "steps": 4},
    "autogan.search.candidates": {"candidates": 4},
    "autogan.search.cells": {"cells": 1},
    "autogan.student.arch": {"variants": {"autogan": {"arch": "A"}}},
    "autogan.transfer.arch": {"variants": {"autogan": {"arch": "A"}}},
    "gan_compression.teacher.generator.separable": {"generator": {"separable": ["up"]}},
    "gan_compression.mobile_teacher.generator.separable": {"generator": {"separable": ["up"]}},
    "gan_compression.supernet.separable": {"separable": ["up"]},
    "gan_compression.student.separable": {"separable": ["up"]},
    "gan_compression.supernet.config_set": {"config_set": [*[[3, 2]] * 7, [3, 2, 1]]},
    "gan_compression.supernet.begin_from": {"begin_from": "mobile_teacher/pix2pix"},
    "gan_compression.search.budget": {"budget": 1e6, "budget_ratio": None},
    "gan_compression.student.search": {
        "variants": {"pix2pix": {"search": None, "widths": "3_2_3_2_3_2_3_2", "begin": "random"}}
    },
    "act.student.sampling_weights": {"sampling_weights": "target", "target": "ema"},
}
# Leaves that have one value only.
FIXED = {
    "denoising_student.pairs.sampling.eta",
    "autogan.search.init_from",  # a search starts from random weights
    "autogan.search.ema.decay",  # and averages none
    # A custom generator, which the teacher here is not: all stages name its callable at once
    *(
        f"gan_compression.{s}.build"
        for s in ("pretrain", "supernet", "search", "student", "export")
    ),
    *(
        f"gan_compression.{stage}.generator.{key}"
        for stage in ("teacher", "mobile_teacher")
        for key in ("build", "elastic")
    ),
    "evaluation.translate.build",
}


# Pages say which data set a row is of.
ALSO = {
    f"{stage}.dataset": {"render"}
    for stage in (
        "autogan.transfer",
        "gan_compression.teacher",
        "gan_compression.mobile_teacher",
    )
}


@cache
def smoke() -> dict[str, Any]:
    mapping = json.loads(json.dumps(yaml.safe_load(SMOKE.read_text())))  # no shared anchors
    # A second classifier that rewards, a second data set to go to, common keys beside variants'.
    mapping["classifier"]["train"]["variants"] = {
        name: {"dataset": "digits", "images": "reward"} for name in ("reward", "other")
    }
    # A second search space, and a row that takes its search from the stage's common keys.
    mapping["dbnas"]["supernet"]["variants"] = {"kernels": {}, "other": {}}
    mapping["dbnas"]["student"]["variants"]["plain"] = {}
    return mapping


@cache
def base() -> Config:
    return load(smoke())


def strings(config: Config) -> dict[str, str]:
    """Return what Snakemake tracks: job or page -> string."""
    jobs = {
        job.name: tracked(stage_settings(config, job.stage, job.variant))
        for job in planned_jobs(config)
    }
    return jobs | {f"render {page}": page_settings(config, page) for page in pages(config)}


def leaves(model: type[BaseModel], prefix: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield key path and annotation of every leaf of a settings class."""
    for name, field in model.model_fields.items():
        key = (*prefix, field.alias or name)
        groups = [g for g in members(field.annotation) if is_model(g)]
        if len(groups) == 1:
            yield from leaves(groups[0], key)
        else:
            yield key, field.annotation


def members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    return (annotation,)


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def candidates(annotation: Any, value: Any) -> Iterator[Any]:
    """Yield other values of a leaf, the likely ones first."""
    for kind in members(annotation):
        if typing.get_origin(kind) is Literal:
            yield from typing.get_args(kind)
        elif is_model(kind):
            yield {"kind": "folder", "path": "somewhere"}
        elif kind is bool:
            yield not value
        elif kind is int:
            yield from ([value + 1, value - 1, value * 2] if isinstance(value, int) else [1, 8])
        elif kind is float:
            yield from ([value * 1.25, value / 2, 1.0, 0.25] if isinstance(value, float) else [0.5])
        elif kind is str:
            names = ("digits", "photo_patches", "random", "other", "S1", "unused")
            yield from ("teacher/pix2pix", "mobile_teacher/pix2pix")
            yield from ("elsewhere", *names, "dbnas/base", "ddim-3", "0" * 64)
        elif typing.get_origin(kind) is tuple:
            yield from other_sequences(value) if value else ([1], [0.5], ["ddim-3"])


def other_sequences(value: list[Any]) -> Iterator[list[Any]]:
    first = value[0]
    if isinstance(first, bool):
        yield [not first, *value[1:]]
    elif isinstance(first, str):
        yield [*value, "ddim-3"]
    elif isinstance(first, float):
        yield [first / 2 + 0.1, *value[1:]]
    else:
        yield [2 * first, *value[1:]]
        yield [*value, first + 4]
        yield [*value, max(value) + 2]


def changed(stage: str, path: Path_, annotation: Any) -> Config:
    """Return the config with another value of one leaf."""
    section, name = stage.split(".")
    label = ".".join((stage, *path))
    common = stage_group(base(), stage).model_dump(mode="json", by_alias=True)
    value = common
    for key in path:
        value = value[key]
    if label in TOGETHER:
        mapping = copy.deepcopy(smoke())
        lay(mapping[section][name], TOGETHER[label])
        return load(mapping)
    tries: list[dict[str, Any]] = []
    for other in candidates(annotation, value):
        nested: Any = other
        for key in reversed(path):
            nested = {key: nested}
        tries.append(nested)
    for change in tries:
        mapping = copy.deepcopy(smoke())
        group = mapping.setdefault(section, {}).setdefault(name, {})
        lay(group, change)
        try:
            config = load(mapping)
        except ConfigError:
            continue
        now = stage_group(config, stage).model_dump(mode="json", by_alias=True)
        for key in path:
            now = now[key]
        if now != value:
            return config
    raise AssertionError(f"no other value found for {label} = {value!r}")


def lay(group: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(group.get(key), dict) and "kind" not in value:
            lay(group[key], value)
        else:
            group[key] = value


@pytest.mark.parametrize("stage", STAGES)
def test_a_leaf_wakes_its_stage_and_no_other(stage: str) -> None:
    before = strings(base())
    for path, annotation in leaves(STAGES[stage]):
        label = ".".join((stage, *path))
        if label in FIXED:
            with pytest.raises(AssertionError, match="no other value"):
                changed(stage, path, annotation)
            continue
        after = strings(changed(stage, path, annotation))
        both = before.keys() & after.keys()
        woken = {name.split()[0] for name in both if before[name] != after[name]}
        assert woken == {stage} | ALSO.get(label, set()), label


def test_every_leaf_of_the_config_was_tried() -> None:
    """The sections hold stages only; what stands beside them is tried below."""
    found = set()
    for section, field in Config.model_fields.items():
        groups = [g for g in members(field.annotation) if is_model(g)]
        if groups and section not in ("tables", "track"):
            for name, stage in groups[0].model_fields.items():
                assert issubclass(stage.annotation, Variants)  # type: ignore[arg-type]
                found.add(f"{section}.{name}")
        else:
            found.add(section)
    assert found == set(STAGES) | {*OTHER_KEYS, "run", "dataset", "seeds", "tables"}


OTHER_KEYS = {
    "track_code": False,
    "cpu_seconds": {"a": 1.0},
    "minutes": 3,
    "track": {"after_run": True, "seeds": [0], "without": ["teacher.train"]},
}


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_a_key_that_no_stage_reads_wakes_nothing(key: str) -> None:
    assert strings(load(smoke() | {key: OTHER_KEYS[key]})) == strings(base())


def test_seeds_wake_pages_only() -> None:
    before, after = strings(base()), strings(load(smoke() | {"seeds": 2}))
    assert {name for name in before if before[name] != after[name]} == {
        f"render {page}" for page in pages(base())
    }


@pytest.mark.parametrize("table", SYSTEMS)
def test_rows_of_a_table_wake_its_page_and_the_summary(table: str) -> None:
    row = next(iter(getattr(base(), table).student.variants))
    before, after = strings(base()), strings(load(smoke() | {"tables": {table: [row]}}))
    woken = {name for name in before if before[name] != after[name]}
    assert woken == {f"render {table}", "render summary"}


def test_a_key_of_one_variant_wakes_that_variant() -> None:
    mapping = copy.deepcopy(smoke())
    mapping["dbnas"]["student"]["variants"]["S1-linear"]["gamma"] = 2.0
    before, after = strings(base()), strings(load(mapping))
    woken = {name for name in before if before[name] != after[name]}
    assert woken == {"dbnas.student S1-linear seed 0"}
