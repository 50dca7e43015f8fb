"""Rewards: whose batch statistics count, and what the classifier is shown."""

import pytest
import torch

from slimgen.config.autogan import SearchSettings
from slimgen.config.base import Runtime
from slimgen.data.dataset import load_split, to_uint8
from slimgen.networks.autogan_generator import AutoGanGenerator
from slimgen.systems.autogan.reinforce import Agent
from slimgen.systems.autogan.reward import Judge, load_reward_classifier
from slimgen.systems.autogan.shared import SharedGan
from slimgen.systems.autogan.space import Space
from slimgen.training.precision import resolve
from slimgen.training.seeding import make_rng

COMPUTE = resolve(Runtime(), "cpu")
TINY = {"cells": 2, "bottom_width": 2, "u_stage": 1, "z_dim": 5, "hidden": 6}
WIDTHS = {"generator_width": 4, "discriminator_width": 4, "calibration_batches": 1}


@pytest.mark.parametrize("recalibrate", [True, False])
def test_statistics_of_the_shared_gan_count_only_without_recalibration(
    data, classifier, recalibrate
):
    settings = SearchSettings(**TINY, **WIDTHS, recalibrate=recalibrate)
    images, space = load_split(data, "train"), Space(2, 2)
    shared = SharedGan(settings, space, images=images, compute=COMPUTE, seed=0)
    drawn = Agent(settings, space, seed=0, device=COMPUTE.device).draw(3, make_rng(0, 0, "draw"))
    network = load_reward_classifier(classifier, images, COMPUTE.device)
    judge = Judge(network, COMPUTE, size=8, num_images=12, batch_size=8, splits=1)
    before = shared.rewards(drawn, judge, make_rng(0, 0, "reward"))
    shared.generator.to_rgb[0].running_mean.fill_(0.3)  # as other architectures leave it
    after = shared.rewards(drawn, judge, make_rng(0, 0, "reward"))
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert all(same) if recalibrate else not any(same)


class Watching:
    """A classifier that keeps what it is shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, images):
        self.shown.append(images)
        return torch.zeros(len(images), 2), torch.zeros(len(images), 3)


@pytest.mark.parametrize(("code", "factor"), [((1, 1, 1, 1), 2), ((1, 1, 1, 1, 0, 0, 1, 1, 1), 1)])
def test_images_of_a_partial_generator_are_enlarged_to_the_datas_size(code, factor):
    torch.manual_seed(0)
    generator = AutoGanGenerator(code=code, width=3, bottom_width=2, z_dim=4, channels=1).eval()
    network = Watching()
    judge = Judge(network, COMPUTE, size=8, num_images=6, batch_size=4, splits=1)
    judge.look(generator, make_rng(0, 0, "look"))
    rng = make_rng(0, 0, "look")
    for shown, count in zip(network.shown, (4, 2), strict=True):
        with torch.no_grad():
            images = to_uint8(generator(torch.randn(count, 4, generator=rng)))
        assert shown.shape == (count, 1, 8, 8)
        assert torch.equal(shown, torch.nn.Upsample(scale_factor=factor)(images))  # nearest
