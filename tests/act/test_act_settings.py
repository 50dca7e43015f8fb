"""Presets: what they set, given keys win, the tracked difference reloads to itself."""

import json

import pytest

from slimgen.config.act import PRESETS, Student, StudentSettings
from slimgen.config.run import ConfigError, load, parse_settings, stage_settings, tracked


def config(**student):
    return {"run": "x", "dataset": "digits", "act": {"student": student}}


def test_presets_differ_where_the_sources_do():
    paper, code = StudentSettings(), StudentSettings(preset="code")
    assert paper.discriminator.block_out_channels == (128, 128, 256, 256)
    assert code.discriminator.block_out_channels == (128, 256, 256, 256)
    assert (paper.r1_lazy_scale, code.r1_lazy_scale) == (16.0, 1.0)
    for settings in (paper, code):
        assert settings.optimizer.betas == (0.0, 0.99)
        assert settings.discriminator_optimizer.betas[1] == pytest.approx(0.93176, abs=1e-5)
        assert (settings.s0, settings.s1, settings.mu0, settings.sigma_data) == (2, 150, 0.9, 0.5)
        assert (settings.target, settings.sampling_weights) == ("ema", "target")
    demo = StudentSettings(preset="demo")
    assert (demo.target, demo.sampling_weights) == ("stop_gradient", "ema")
    assert (demo.sigma_data, demo.distance) == ("measured", "pseudo_huber")
    assert demo.require_augmentation
    assert demo.optimizer.name == "radam"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reloads_to_itself_and_is_all_that_is_tracked(preset):
    settings = StudentSettings(preset=preset)
    text = tracked(settings)
    assert parse_settings("act.student", text) == settings
    label = {} if preset == "paper" else {"preset": preset}
    assert json.loads(text) == {"revision": 1, **label}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "given",
    [
        {"target": "ema", "sampling_weights": "ema"},  # the class default, against the demo
        {"optimizer": {"betas": (0.9, 0.999)}},  # equal to the defaults of every other stage
        {"discriminator": {"block_out_channels": (128, 128, 256, 256), "attention": (False,) * 4,
                           "norm_num_groups": 32}},
        {"r1_lazy_scale": 16.0, "flip": True, "sigma_data": 0.5, "weight": {"kind": "constant"}},
        {"ema": {"decay": 0.9999, "warmup": False}, "augment": {"tau": 10_000.0}},
    ],
)  # fmt: skip
def test_given_keys_win_and_survive_the_round_trip(preset, given):
    settings = StudentSettings(preset=preset, **given)
    dumped = settings.model_dump()
    for key, value in given.items():
        inner = value if isinstance(value, dict) else {None: value}
        for name, expected in inner.items():
            assert (dumped[key] if name is None else dumped[key][name]) == expected
    assert settings.preset == preset
    assert parse_settings("act.student", tracked(settings)) == settings


def test_a_part_of_a_group_keeps_the_rest_of_it():
    settings = StudentSettings(optimizer={"lr": 4e-3})
    assert (settings.optimizer.name, settings.optimizer.betas) == ("radam", (0.0, 0.99))
    augment = StudentSettings(preset="demo", augment={"enabled": False}).augment
    assert augment.tau == PRESETS["demo"]["augment"]["tau"]


def test_variants_lie_over_the_preset_and_may_name_another():
    run = load(
        config(
            preset="demo",
            steps=7,
            target="ema",
            variants={"act": {}, "ct": {"weight": {"w": 0.0}}, "old": {"preset": "code"}},
        )
    )
    rows = {name: stage_settings(run, "act.student", name) for name in ("act", "ct", "old")}
    assert rows["act"].target == rows["ct"].target == "ema"
    assert (rows["ct"].weight.kind, rows["ct"].weight.w) == ("increasing", 0.0)
    assert (rows["old"].steps, rows["old"].distance) == (7, "lpips")
    assert rows["old"].discriminator.block_out_channels == (128, 256, 256, 256)
    for row in rows.values():
        assert parse_settings("act.student", tracked(row)) == row


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"preset": "papers"}, "act.student.preset = 'papers'"),
        ({"batch_size": 7}, "act.student.batch_size = 7"),
        ({"target": "stop_gradient"}, "sampling_weights: ema"),
        ({"weight": {"kind": "increasing", "w": 0.1}}, "w_mid 0.2 is above w 0.1"),
        ({"s0": 9, "s1": 5}, "s1 5 is below s0 9"),
        ({"sigma_max": 0.001}, "sigma_max 0.001 is not above sigma_min"),
        ({"sigma_data": -1}, "sigma_data"),
        ({"discriminator": {"attention": [True]}}, "one entry per level"),
        ({"optimizer": {"lrr": 1}}, "act.student.optimizer.lrr"),
        ({"variants": {"ct": {"equal_macs_with": "nobody"}}}, "equal_macs_with = 'nobody'"),
        ({"variants": {"a": {}, "b": {"equal_macs_with": "b"}}}, "it can be a"),
        (
            {"variants": {"a": {"equal_macs_with": "b"}, "b": {"equal_macs_with": "a"}}},
            "none that it could be",
        ),
    ],
)
def test_bad_settings_are_named(student, message):
    with pytest.raises(ConfigError, match=r"act\.student") as fault:
        load(config(**student))
    assert message in str(fault.value)


def test_default_rows():
    group = Student()
    assert group.variant("ct").weight.w == 0.0
    assert not group.variant("act-noaug").augment.enabled
