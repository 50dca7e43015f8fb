"""A fault of the config is one line: key path, value, what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slimgen.config.base import deep_merge
from slimgen.config.paths import check_paths, named_weights
from slimgen.config.run import ConfigError, load, parse_settings, read_config

BASE: dict[str, Any] = {
    "run": "x",
    "dataset": "digits",
    "dbnas": {},
    "denoising_student": {},
    "act": {},
}

RANDOM = {"method": "random"}


def faults(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(deep_merge(BASE, changes))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"foo": 3}, "config: foo = 3: unknown key; it can be run, seeds, dataset, "),
        ({"run": None}, "config: run = None: Input should be a valid string"),
        ({"run": "A b"}, "config: run = 'A b': it must be of the form ^[a-z0-9]"),
        (
            {"teacher": {"train": {"steps": True}}},
            "config: teacher.train: steps = True: a number is needed, no true or false",
        ),
        (
            {"teacher": {"train": {"optimizer": {"clip_norm": False}}}},
            "config: teacher.train.optimizer: clip_norm = False: a number is needed",
        ),
        ({"seeds": 0}, "config: seeds = 0: at least one seed is needed"),
        ({"seeds": True}, "config: seeds = True: at least one seed is needed"),
        (
            {"seeds": [1, 1]},
            "config: seeds = [1, 1]: seeds are at least 0, and none is there twice",
        ),
        (
            {"gan_compression": {"student": {"widths": 16163216}}},
            "config: gan_compression.student.widths = 16163216: YAML reads 16_16_32 as one ",
        ),
        ({"dataset": "nope"}, "config: dataset = 'nope': no such name; it can be digits"),
        ({"act": 3}, "config: act = 3: a group of keys is needed here"),
        (
            {"teacher": {"train": {"steps": "1e6"}}},
            "config: teacher.train.steps = '1e6': YAML reads this as text; write 1000000",
        ),
        (
            {"dbnas": {"search": {"r": 0.5}}},
            "config: dbnas.search.r = 0.5: Input should be greater than or equal to 1",
        ),
        (
            {"dbnas": {"search": {"variants": {"S1": {"r": 0.5}}}}},
            "config: dbnas.search.variants.S1.r = 0.5: Input should be greater than or equal to 1",
        ),
        (
            {"dbnas": {"search": {"variants": {"S1": {"q": 3}}}}},
            "config: dbnas.search.variants.S1.q = 3: unknown key; it can be revision, supernet, ",
        ),
        (
            {"dbnas": {"search": {"variants": {"S1": {"supernet": "big"}}}}},
            "config: dbnas.search.variants.S1.supernet = 'big': no such name; it can be kernels",
        ),
        (
            {
                "dbnas": {
                    "search": {
                        "variants": {"a": RANDOM | {"like": "b"}, "b": RANDOM | {"like": "a"}}
                    }
                }
            },
            "config: dbnas.search.variants.a.like = 'b': itself random",
        ),
        (
            {"dbnas": {"supernet": {"kernels": [2, 3]}}},
            "config: dbnas.supernet.kernels = [2, 3]: kernel size 2: kernels are odd",
        ),
        (
            {"dbnas": {"supernet": {"widths": [1.0, 1.5]}}},
            "config: dbnas.supernet.widths = [1.0, 1.5]: width 1.5: widths are fractions above 0",
        ),
        (
            {"dbnas": {"supernet": {"variants": {"narrow": {"widths": [0.5]}}}}},
            "config: dbnas.supernet.variants.narrow.widths = [0.5]: widths [0.5]: they hold 1.0, ",
        ),
        (
            {"dbnas": {"student": {"variants": {"a b": {}}}}},
            "config: dbnas.student.variants.a b: a variant names a folder: ",
        ),
        (
            {"dbnas": {"student": {"variants": {"S9-linear": {"search": "S9"}}}}},
            "config: dbnas.student.variants.S9-linear.search = 'S9': no such name; it can be ",
        ),
        (
            {"teacher": {"train": {"optimiser": {}}}},
            "config: teacher.train.optimiser: unknown key; it can be variants, revision, steps, ",
        ),
        (
            {"teacher": {"train": {"optimizer": {"learning_rate": 1}}}},
            "config: teacher.train.optimizer.learning_rate = 1: unknown key; it can be name, lr, ",
        ),
        (
            {"teacher": {"train": {"runtime": {"channels_last": 3}}}},
            "config: teacher.train.runtime.channels_last = 3: Input should be 'auto'; or Input ",
        ),
        (
            {"data": {"prepare": {"source": {"kind": "folder"}}}},
            "config: data.prepare.source.path: missing; it has no default",
        ),
        (
            {"tables": {"act": ["nope"]}},
            "config: tables.act = 'nope': no such name; it can be act, ct, act-noaug",
        ),
        (
            {"evaluation": {"measure": {"variants": {"act/nope": {}}}}},
            "config: evaluation.measure.variants.act/nope = 'act/nope': no such name; it can be ",
        ),
        (
            {"denoising_student": {"pairs": {"variants": {"x": {"teacher": "no"}}}}},
            "config: denoising_student.pairs.variants.x.teacher = 'no': no such name; it can be ",
        ),
        (
            {"denoising_student": {"pairs": {"variants": {"teacher": {}, "x": {"num_pairs": 7}}}}},
            "config: denoising_student.pairs.variants.x: 1 shards (num_pairs / shard_size) where ",
        ),
        (
            {"act": {"student": {"variants": {"x": {"backbone": "S9"}}}}},
            "config: act.student.variants.x.backbone = 'S9': no such name; it can be S1, S2, ",
        ),
        (
            {"act": {"student": {"variants": {"x": {"equal_macs_with": "x"}, "y": {}}}}},
            "config: act.student.variants.x.equal_macs_with = 'x': no such name; it can be y",
        ),
    ],
)
def test_fault_is_one_line(changes: dict[str, Any], line: str) -> None:
    said = faults(changes)
    assert len(said) == 1
    assert said[0].startswith(line)


def test_every_fault_has_its_line() -> None:
    said = faults(
        {"foo": 3, "dbnas": {"search": {"variants": {"S1": {"r": 0.5}, "S2": {"cost": "flops"}}}}}
    )
    assert [line.split(":")[1].split(" = ")[0].strip() for line in said] == [
        "dbnas.search.variants.S1.r",
        "dbnas.search.variants.S2.cost",
        "foo",
    ]


def test_teacher_from_is_short_for_train_from() -> None:
    config = load(BASE | {"teacher": {"from": "owner/name"}, "act": None})
    assert config.teacher.train.from_ == "owner/name"
    check_paths(config)  # a hub id is no path


@pytest.mark.parametrize("path", ["./missing", "/missing/folder", "~/missing", "a/b/c", "missing"])
def test_missing_teacher_is_named(path: str) -> None:
    with pytest.raises(
        ConfigError, match=r"teacher\.train\.variants\.digits\.from = .*no such file"
    ):
        check_paths(load(BASE | {"teacher": {"from": path}}))


def test_home_is_written_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stage has to know what `~` means."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load(BASE | {"teacher": {"from": "~/ddpm"}, "act": {"student": {"lpips_path": "~/x"}}})
    assert config.teacher.train.variant("digits").from_ == str(tmp_path / "ddpm")  # type: ignore[attr-defined]
    assert config.act is not None
    assert config.act.student.lpips_path == str(tmp_path / "x")


def test_lpips_without_weights_is_a_fault() -> None:
    rows = {"act": {}, "ct": {"distance": "l2"}}
    with pytest.raises(ConfigError) as fault:
        check_paths(load(BASE | {"act": {"student": {"variants": rows}}}))
    assert str(fault.value).startswith("config: act.student.variants.act.lpips_path: not set; ")
    assert "variants.ct" not in str(fault.value)


def test_named_weights_are_the_files_of_a_model(tmp_path: Path) -> None:
    for name in ("config.json", "unet/model.safetensors", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    lpips = tmp_path / "lpips.safetensors"
    lpips.write_text("weights")
    settings = {"init_from": str(tmp_path / "unet"), "lpips_path": str(lpips)}
    found = named_weights(parse_settings("act.student", json.dumps(settings)))
    assert found == [lpips, tmp_path / "unet" / "model.safetensors"]
    found = named_weights(parse_settings("teacher.train", json.dumps({"from": str(tmp_path)})))
    assert found == [tmp_path / "config.json", lpips, tmp_path / "unet" / "model.safetensors"]
    assert named_weights(parse_settings("teacher.train", '{"from": "owner/name"}')) == []


def test_partial_groups_keep_the_defaults_of_their_stage() -> None:
    config = load(BASE | {"teacher": {"train": {"optimizer": {"lr": 1.0}}}})
    assert config.teacher.train.optimizer.warmup == 5000
    assert config.teacher.train.optimizer.clip_norm == 1.0


def test_a_variant_lies_over_the_common_keys() -> None:
    search = {"num_images": 7, "variants": {"S1": {"r": 1.5}, "S2": {"num_images": 9}}}
    config = load(BASE | {"dbnas": {"search": search, "student": {"variants": {}}}})
    assert config.dbnas is not None
    found = config.dbnas.search
    assert list(found.variants) == ["S1", "S2"]  # the default variants are gone
    s1: Any = found.variant("S1")
    s2: Any = found.variant("S2")
    assert (s1.r, s1.num_images, s2.r, s2.num_images) == (1.5, 7, 1.0, 9)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run: [", "not YAML"),
        ("- a\n", "a config is a mapping"),
        ("", "the file is empty"),
        ("run: x\n", "config: dataset: missing; it has no default"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert line in str(caught.value)


def test_a_picture_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: not YAML"):
        read_config(tmp_path / "x.yaml")


def test_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        read_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("stage", "text", "line"),
    [
        ("dbnas.serach", "{}", "unknown stage 'dbnas.serach'"),
        ("dbnas.search", "{", "settings are not JSON"),
        ("dbnas.search", json.dumps({"r": 0}), "config: dbnas.search.r = 0: Input should be"),
    ],
)
def test_settings_of_the_command_line(stage: str, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(stage, text)
    assert line in str(caught.value)
