"""Settings: presets, what wins over them, what is refused."""

import pytest
from pydantic import ValidationError

from slimgen.config.autogan import (
    Search,
    SearchSettings,
    Student,
    StudentSettings,
    Transfer,
    TransferSettings,
)

CLASSES = (SearchSettings, StudentSettings, TransferSettings)


def test_presets_hold_what_paper_and_code_say():
    paper, code = SearchSettings(), SearchSettings(preset="code")
    assert (paper.steps, paper.growth, paper.entropy_weight) == (90, (30, 60), 1e-4)
    assert (code.steps, code.growth, code.entropy_weight) == (65, (15, 35), 1e-3)
    assert (paper.reset.statistic, code.reset.statistic) == ("std", "variance")
    assert (paper.skip_source, code.skip_source) == ("conv", "sum")
    for settings in (paper, code):
        assert settings.gan_steps * settings.n_critic == 15 * 782  # epochs of CIFAR-10
        assert (settings.candidates, settings.beams, settings.reset.window) == (10, 5, 500)
        assert settings.optimizer.betas == settings.controller_optimizer.betas == (0.0, 0.9)
    assert StudentSettings().average_buffers
    assert not StudentSettings(preset="code").average_buffers


def test_given_keys_win_over_the_preset():
    settings = SearchSettings(preset="code", baseline={"decay": 0.5}, optimizer={"lr": 1e-3})
    assert settings.baseline.model_dump() == {
        "decay": 0.5,
        "per_iteration": True,
        "update_first": True,
    }
    assert settings.optimizer.betas == (0.0, 0.9)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("preset", ["paper", "code"])
def test_changes_complete_to_the_settings(cls, preset):
    settings = cls(preset=preset, generator_width=16, optimizer={"lr": 1e-3})
    changes = settings.changes()
    assert cls.model_validate(changes) == settings
    expected = {"generator_width": 16, "optimizer": {"lr": 1e-3}}
    assert changes == (expected if preset == "paper" else {"preset": "code"} | expected)
    assert cls().changes() == {}


def test_every_variant_is_complete():
    for group in (Search(), Student(), Transfer()):
        for name in group.variants:
            assert group.variant(name)
    assert Search().variant("no-mlas").stages == 1
    assert Student(arch="A").variant("autogan").arch == "A"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 60}, "3 cells need 2 growths, all before the last iteration"),
        ({"u_stage": (30,)}, "3 cells need 2 growths"),
        ({"u_stage": (30, 20)}, "iterations are at least 1 and rise"),
        ({"u_stage": 0}, "iterations are at least 1 and rise"),
        ({"beams": 11}, "beams 11 are kept of 10 candidates"),
        ({"reward_images": 5}, "cannot be divided into 10 splits"),
        ({"ema": {"decay": 0.9}}, "averages none"),
        ({"preset": "demo"}, "paper"),
    ],
)
def test_impossible_searches_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        SearchSettings(**changes)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValidationError, match="E2GAN"):
        StudentSettings(arch="D")


def test_a_variant_may_have_a_preset_of_its_own():
    group = Search(generator_width=16, variants={"a": {}, "b": {"preset": "code"}})
    paper, code = group.variant("a"), group.variant("b")
    assert paper == SearchSettings(generator_width=16)
    assert code == SearchSettings(generator_width=16, preset="code")
