"""The order of a search's events, with a shared GAN that is told its rewards and its collapses."""

import pytest
import torch

from slimgen.config.autogan import SearchSettings
from slimgen.systems.autogan.reinforce import Agent
from slimgen.systems.autogan.search import Searching
from slimgen.systems.autogan.space import Space


class ToldGan:
    """Notes what is asked of it; it collapses at every update, or never; rewards are given."""

    def __init__(self, *, collapses, rewards=()):
        self.collapses, self.given = collapses, iter(rewards)
        self.collapsed, self.values, self.events = False, {"resets": 0}, []

    def update(self, number, *, steps, agent):
        self.collapsed = self.collapses
        self.events.append("train")
        return {}

    def rewards(self, drawn, judge, rng):
        self.events.append(f"score {len(drawn.archs)}")
        return [next(self.given, 1.0)] * len(drawn.archs)

    def begin_anew(self):
        self.collapsed = False
        self.events.append("anew")


def run(job, shared, **changes):
    """Search one cell after another (4 candidates each); return each step's metrics."""
    given = {"cells": 2, "bottom_width": 2, "steps": 4, "u_stage": 2, "gan_steps": 2, "hidden": 6}
    rewarded = {"controller_steps": 1, "controller_batch": 2, "candidates": 4, "beams": 2}
    settings = SearchSettings(**(given | rewarded | changes))
    space = Space(settings.cells, settings.bottom_width)
    agent = Agent(settings, space, seed=0, device=torch.device("cpu"))
    searching = Searching(settings, job, shared=shared, agent=agent, judge=None)
    steps = range(searching.schedule.steps)
    return [searching.update(step, torch.Generator().manual_seed(step)) for step in steps]


@pytest.mark.parametrize(
    ("method", "stage"),
    [
        ("reinforce", "train, score 2, anew, train, score 2, score 4, anew"),
        ("random", "train, anew, train, score 2, score 2, score 4, anew"),
    ],
    ids=["reinforce", "random"],
)
def test_candidates_are_scored_before_a_collapsed_gan_begins_anew(make_job, method, stage):
    shared = ToldGan(collapses=True)
    run(make_job(), shared, method=method)
    assert ", ".join(shared.events) == f"{stage}, {stage}"


@pytest.mark.parametrize(
    ("per_iteration", "baselines"), [(False, [1, 1.1, 1.49, 1.941]), (True, [1, 1.1, 5, 5.1])]
)
def test_a_baseline_is_kept_or_begins_anew_in_every_iteration(make_job, per_iteration, baselines):
    shared = ToldGan(collapses=False, rewards=[1.0, 2.0, 5.0, 6.0])
    baseline = {"decay": 0.9, "per_iteration": per_iteration}
    changes = {"steps": 2, "mlas": False, "controller_steps": 2, "baseline": baseline}
    metrics = run(make_job(), shared, **changes)
    assert [m["baseline"] for m in metrics if "baseline" in m] == pytest.approx(baselines)
