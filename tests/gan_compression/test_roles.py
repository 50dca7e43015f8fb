"""Who sees what: roles that shapes alone do not tell apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimgen.config.gan_compression import SearchSettings, StudentSettings, TeacherSettings
from slimgen.data.pairs import load_pairs
from slimgen.networks.gan_generators import make_generator, make_supernet
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.systems.gan_compression.cycles import Cycles
from slimgen.systems.gan_compression.distilled import Distillation
from slimgen.systems.gan_compression.judge import Judge
from slimgen.training.player import Player
from slimgen.training.precision import Compute

CPU = Compute(torch.device("cpu"), torch.float32, channels_last=False, compile=False)
COMMON = {
    "steps": 4,
    "batch_size": 12,
    "flip": False,
    "discriminator": {"ndf": 4, "num_layers": 2},
}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def ordered(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1).sort(0).values


def test_cycles_show_each_side_its_own_images(strokes) -> None:
    pairs = load_pairs(strokes, "train")
    given = TeacherSettings(**COMMON, task="unpaired", pool_size=1)
    run = Cycles(given, Times(0.5), Times(-1.0), pairs, compute=CPU, seed=0)
    seen: dict = {}
    for side, adversary in run.adversaries.items():

        def note(shown, *, side=side, whole=adversary.train, **given):
            seen[side] = (shown, given["reals"])
            return whole(shown, **given)

        adversary.train = note
    found = run.update(0, torch.Generator())
    x, y = pairs.batch_inputs(torch.arange(12)), pairs.batch_targets(torch.arange(12))
    wanted = 10 * 0.5 * (0.5 * y.abs().mean() + 2 * x.abs().mean())  # |y/2 - y|, |-x - x|
    torch.testing.assert_close(found["loss_identity"], wanted)
    assert torch.equal(ordered(seen["targets"][1]), ordered(y))
    assert torch.equal(ordered(seen["inputs"][1]), ordered(x))
    made = {tuple(image) for image in (0.5 * x).flatten(1).tolist()}
    shown = [tuple(image) for image in seen["targets"][0].flatten(1).tolist()]
    assert set(shown) <= made
    assert len(set(shown)) < 12  # the pool gives some twice or keeps one back


def distillation(edges, draw=None, **settings) -> Distillation:
    torch.manual_seed(0)
    wide = make_generator(ResnetShape(1, 1, (6,) * 8, blocks=3)).eval().requires_grad_(False)
    narrow = make_generator(ResnetShape(1, 1, (4,) * 8, blocks=3))
    if draw is not None:
        narrow = make_supernet(narrow, size=(16, 16))
    given = StudentSettings.model_validate(COMMON | settings)
    taps = ("model.9",)
    pairs = load_pairs(edges, "train")
    return Distillation(given, narrow, wide, pairs, taps=taps, draw=draw, compute=CPU, seed=0)


def test_a_paired_student_is_drawn_to_the_target(edges) -> None:
    run = distillation(edges)
    pairs = load_pairs(edges, "train")
    with torch.no_grad():
        made = run.student(pairs.batch_inputs(torch.arange(12)))
    wanted = 100 * (made - pairs.batch_targets(torch.arange(12))).abs().mean()
    torch.testing.assert_close(run.update(0, torch.Generator())["loss_recon"], wanted)


def test_lambda_distill_weighs(edges) -> None:
    losses = [
        distillation(edges, lambda_distill=weight).update(0, torch.Generator())["loss_distill"]
        for weight in (1.0, 0.25)
    ]
    torch.testing.assert_close(losses[1], 0.25 * losses[0])


def test_every_subnets_images_are_judged_beside_their_own_pairs(edges) -> None:
    run = distillation(edges, draw=lambda step: [(4,) * 8, (2,) * 8])
    seen: dict = {}

    def note(fakes, **given):
        seen.update(given, fakes=fakes)
        return {}

    run.adversary.train = note
    run.update(0, torch.Generator())
    assert len(seen["fakes"]) == 24
    for name in ("reals", "inputs"):
        assert torch.equal(seen[name][:12], seen[name][12:])


def test_the_rate_of_a_player_falls_from_decay_start_on() -> None:
    given = TeacherSettings(**COMMON, decay_start=0.5)
    player = Player(nn.Linear(1, 1), given.optimizer, CPU, decay_start=given.decay_start)
    rates = []
    for step in range(4):
        player.step(player.network(torch.ones(1, 1)).sum(), step=step, steps=given.steps)
        rates.append(player.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2e-4, 2e-4, 2e-4, 1e-4])


@pytest.mark.parametrize(("criterion", "sign"), [("fid", 1), ("accuracy", -1), ("psnr", -1)])
def test_less_is_better(criterion, sign) -> None:
    judge = Judge(SearchSettings(criterion=criterion), *[None] * 7)
    assert judge.loss(0.5) == sign * 0.5
