"""Beam, dynamic reset, and the schedule of a search."""

import pytest
import torch

from slimgen.config.autogan import Reset, SearchSettings
from slimgen.networks.autogan_arch import Arch
from slimgen.systems.autogan.beam import Beam, best
from slimgen.systems.autogan.reset import LossWindows
from slimgen.systems.autogan.schedule import Schedule


def beams(*scored):
    return [Beam(Arch.from_code(code), torch.zeros(2, 1), score) for code, score in scored]


FIRST, SECOND = (0, 0, 0, 0), (1, 0, 0, 0)


def test_the_best_are_kept_in_order():
    found = best(beams((FIRST, 1.0), (SECOND, 3.0), (FIRST, 2.0)), keep=2, distinct=False)
    assert [beam.score for beam in found] == [3.0, 2.0]
    found = best(beams((FIRST, 1.0), (SECOND, 1.0)), keep=1, distinct=False)
    assert found[0].arch.code == FIRST  # the earlier of equals


def test_equal_architectures_are_kept_once_on_request():
    given = beams((FIRST, 1.0), (FIRST, 3.0), (FIRST, 2.0), (SECOND, 0.5))
    assert [b.score for b in best(given, keep=3, distinct=True)] == [3.0, 0.5]
    assert [b.score for b in best(given, keep=3, distinct=False)] == [3.0, 2.0, 1.0]


def windows(**changes):
    return LossWindows(Reset(**({"window": 4, "threshold": 0.01} | changes)))


def test_collapse_is_found_when_the_generators_window_is_full():
    losses = windows()
    for _ in range(3):
        losses.add(generator=[0.5], discriminator=[1.0, 2.0])
        assert not losses.collapsed
    losses.add(generator=[0.5], discriminator=[1.0, 2.0])
    assert losses.collapsed
    losses.add(generator=[0.6], discriminator=[])
    assert not losses.collapsed
    losses.clear()
    assert not losses.collapsed


def test_constant_losses_of_the_discriminator_are_a_collapse_too():
    losses = windows()
    losses.add(generator=[0.0, 1.0, 2.0, 3.0], discriminator=[7.0, 2.0, 2.0, 2.0, 2.0])
    assert losses.collapsed
    assert not windows(enabled=False).collapsed


def test_paper_looks_at_the_deviation_and_code_at_the_variance():
    varied = [0.45, 0.55, 0.45, 0.55]  # deviation 0.05, variance 0.0025
    paper, code = windows(), windows(statistic="variance")
    for losses in (paper, code):
        losses.add(generator=varied, discriminator=varied)
    assert (paper.collapsed, code.collapsed) == (False, True)


def test_windows_round_trip():
    losses = windows()
    losses.add(generator=[1.0] * 6, discriminator=[1.0] * 9)
    other = windows()
    other.load_state_dict(losses.state_dict())
    assert other.state_dict() == {"generator": [1.0] * 4, "discriminator": [1.0] * 4}
    assert other.collapsed


def schedule(**changes):
    given = {"steps": 7, "u_stage": 2, "cells": 3, "gan_steps": 3, "controller_steps": 2}
    return Schedule(SearchSettings(**(given | changes)))


def test_growth_follows_every_u_stage_finished_iterations():
    found = schedule()
    ends = [p.start + p.count for p in found.phases if p.grows]
    assert ends == [2 * 5, 4 * 5, 7 * 5]
    stages = [found.at(step).stage for step in range(found.steps)]
    assert stages == [0] * 10 + [1] * 10 + [2] * 15
    listed = schedule(u_stage=(1, 5))
    assert [p.start + p.count for p in listed.phases if p.grows] == [5, 25, 35]


def test_the_code_grows_where_the_released_script_does():
    found = Schedule(SearchSettings(preset="code"))
    assert [p.iteration + 1 for p in found.phases if p.grows] == [15, 35, 65]
    assert found.gan_steps == 65 * 2346


@pytest.mark.parametrize("mlas", [True, False])
def test_a_random_search_has_the_same_budget(mlas):
    learnt, uniform = schedule(mlas=mlas), schedule(mlas=mlas, method="random")
    for one in (learnt, uniform):
        kinds = [one.at(step).kind for step in range(one.steps)]
        assert (kinds.count("gan"), kinds.count("controller")) == (21, 14)
        assert sum(p.grows for p in one.phases) == (3 if mlas else 1)
        numbers = [
            one.at(step).number(step) for step in range(one.steps) if one.at(step).kind == "gan"
        ]
        assert numbers == list(range(21))
        assert sum(p.resets for p in one.phases) == 7
        # Whatever is scored was trained: after a reset comes a training before any reward
        for phase, following in zip(one.phases, one.phases[1:], strict=False):
            assert not (phase.resets and following.kind == "controller")
    first = [uniform.at(step).kind for step in range(10)]
    assert not mlas or first == ["gan"] * 6 + ["controller"] * 4
