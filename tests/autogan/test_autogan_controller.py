"""Controller, REINFORCE, baseline, agent: golden sizes, hand-computed gradients, inheritance."""

import copy
import math

import pytest
import torch

from slimgen.config.autogan import Baseline as BaselineSettings
from slimgen.config.autogan import SearchSettings
from slimgen.evaluation.complexity import count_params
from slimgen.networks.autogan_arch import Arch
from slimgen.systems.autogan.beam import Beam
from slimgen.systems.autogan.controller import Controller
from slimgen.systems.autogan.reinforce import Agent, Baseline, policy_loss
from slimgen.systems.autogan.space import PUBLISHED, Space

CPU = torch.device("cpu")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("stage", "params"), [(0, 82_810), (1, 83_212), (2, 83_614)])
def test_controllers_have_the_published_number_of_parameters(stage, params):
    tokens = Space(3, 4).tokens(range(stage, stage + 1))
    assert count_params(Controller(tokens, 100)) == params


def test_drawn_sequences_are_judged_as_they_were_drawn():
    controller, hidden = Controller((2, 3, 3, 2, 4), 7), torch.randn(6, 2, 7)
    drawn = controller(hidden, rng=rng())
    judged = controller(hidden, actions=drawn.actions)
    for name in ("actions", "log_probs", "entropies", "hidden"):
        assert torch.equal(getattr(drawn, name), getattr(judged, name))
    assert drawn.log_probs.shape == drawn.entropies.shape == (6, 5)
    assert torch.equal(controller(hidden, rng=rng()).actions, drawn.actions)
    alone = controller(hidden[2:3], actions=drawn.actions[2:3])
    torch.testing.assert_close(alone.log_probs, drawn.log_probs[2:3])


def test_probabilities_of_all_sequences_sum_to_one():
    controller = Controller((2, 3, 2), 5)
    actions = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2))
    log_probs = controller(torch.zeros(12, 2, 5), actions=actions).log_probs.sum(1)
    torch.testing.assert_close(log_probs.exp().sum(), torch.ones(()))


def test_entropy_is_that_of_the_distribution():
    controller = Controller((2, 3, 4), 5)
    for head in controller.heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    entropies = controller(torch.randn(3, 2, 5), rng=rng()).entropies
    expected = torch.tensor([math.log(n) for n in (2, 3, 4)]).expand(3, 3)
    torch.testing.assert_close(entropies, expected)


def test_each_position_has_its_own_rows_of_the_embedding():
    controller = Controller((2, 3, 2), 5)
    controller(torch.zeros(1, 2, 5), actions=torch.tensor([[1, 2, 0]])).log_probs.sum().backward()
    used = controller.embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert used == [1, 2 + 2]  # the last action is embedded by nobody


@pytest.mark.parametrize("batch", [1, 3])
def test_policy_gradient_is_the_one_by_hand(batch):
    logits = torch.randn(batch, 2, 3, dtype=torch.float64, requires_grad=True)  # (B, T, choices)
    actions = torch.tensor([[0, 2], [1, 1], [2, 0]])[:batch]
    advantages = torch.tensor([1.5, -0.25, 0.5], dtype=torch.float64)[:batch]
    log_p = logits.log_softmax(2)
    log_probs = log_p.gather(2, actions[..., None]).squeeze(2)
    entropies = -(log_p.exp() * log_p).sum(2)
    policy_loss(log_probs, entropies, advantages, 0.3).backward()

    p, log_p = log_p.exp().detach(), log_p.detach()
    chosen = torch.nn.functional.one_hot(actions, 3)
    H = entropies.detach()[..., None]
    up_reward = advantages[:, None, None] * (chosen - p)  # A d log pi / d logits
    up_entropy = -0.3 * p * (log_p + H)  # w dH / d logits
    torch.testing.assert_close(logits.grad, -(up_reward + up_entropy) / batch)


def test_baseline_of_the_paper_and_of_the_code():
    paper = Baseline(BaselineSettings())
    code = Baseline(BaselineSettings(update_first=True))
    for baseline in (paper, code):
        assert baseline.advantages(torch.tensor([2.0])).tolist() == [0.0]
    later = torch.tensor([4.0, 2.0])  # mean 3, old baseline 2
    assert paper.advantages(later).tolist() == pytest.approx([2.0, 0.0])
    assert code.advantages(later).tolist() == pytest.approx([1.9, -0.1])
    assert paper.value == code.value == pytest.approx(2.1)
    single = Baseline(BaselineSettings(update_first=True))
    single.advantages(torch.tensor([1.0]))
    assert single.advantages(torch.tensor([3.0])).item() == pytest.approx(0.9 * (3.0 - 1.0))


def agent(**changes):
    given = {"cells": 2, "bottom_width": 2, "u_stage": 1, "steps": 2, "hidden": 8} | changes
    settings = SearchSettings(**given)
    return Agent(settings, Space(settings.cells, settings.bottom_width), seed=0, device=CPU)


def test_a_stage_continues_its_beams_from_their_hidden_states():
    player = agent(controller_optimizer={"lr": 1e-2})
    first = player.controller
    beams = [
        Beam(Arch.from_code(code), torch.randn(2, 8), 1.0) for code in [(1, 0, 1, 1), (0, 2, 2, 0)]
    ]
    player.begin(1, beams)
    assert player.controller is not first
    drawn = player.draw(30, rng(3))
    prefixes = {beam.arch.code: beam.hidden for beam in beams}
    assert {arch.code[:4] for arch in drawn.archs} == set(prefixes)  # drawn with replacement
    hidden = torch.stack([prefixes[arch.code[:4]] for arch in drawn.archs])
    actions = torch.tensor([arch.code[4:] for arch in drawn.archs])
    judged = player.controller(hidden, actions=actions)
    assert torch.equal(judged.log_probs, drawn.log_probs)
    assert torch.equal(judged.hidden, drawn.hidden)
    scored = drawn.beams([float(i) for i in range(30)])
    assert torch.equal(scored[7].hidden, drawn.hidden[7])
    assert not scored[7].hidden.requires_grad


@pytest.mark.parametrize("batch", [1, 5])
def test_reinforce_finds_what_is_rewarded(batch):
    player = agent(controller_optimizer={"lr": 0.05, "betas": (0.9, 0.999)})
    for step in range(60):
        drawn = player.draw(batch, rng(step))
        rewards = [float(arch.cells[0].norm == "in") for arch in drawn.archs]
        metrics = player.learn(drawn, rewards, updates=60)
    found = player.draw(50, rng(99)).archs
    assert sum(arch.cells[0].norm == "in" for arch in found) > 40
    assert metrics["entropy"] < sum(math.log(n) for n in (2, 3, 3, 2))


def test_entropy_counts_by_its_weight_where_rewards_are_equal():
    player = agent(entropy_weight=0.25)
    metrics = player.learn(player.draw(3, rng()), [2.0] * 3, updates=1)  # no advantages
    assert metrics["loss_controller"].item() == pytest.approx(-0.25 * metrics["entropy"].item())
    assert metrics["entropy"] > 1


def test_a_uniform_agent_draws_every_architecture_and_learns_nothing():
    player = agent(method="random")
    drawn = player.draw(600, rng())
    assert {arch.code for arch in drawn.archs} == {
        Arch.from_code(code).code
        for code in torch.cartesian_prod(*map(torch.arange, (2, 3, 3, 2))).tolist()
    }
    assert player.learn(drawn, [0.0] * 600, updates=1) == {}
    assert player.controller is None


def test_all_cells_at_once():
    player = agent(mlas=False, cells=3, bottom_width=4)
    drawn = player.draw(4, rng())
    assert drawn.log_probs.shape == (4, 14)
    assert all(len(arch) == 3 for arch in drawn.archs)
    assert player.cells == 3


def test_agent_state_round_trip():
    player = agent(controller_optimizer={"lr": 1e-2})
    player.begin(1, [Beam(Arch.from_code(PUBLISHED["A"].code[:4]), torch.randn(2, 8), 1.25)])
    player.learn(player.draw(3, rng()), [1.0, 2.0, 4.0], updates=9)
    other = agent(controller_optimizer={"lr": 1e-2})
    other.load_state_dict(copy.deepcopy(player.state_dict()))
    for step in range(2):
        for one in (player, other):
            one.learn(one.draw(3, rng(step)), [3.0, 1.0, 2.0], updates=9)
    assert torch.equal(player.draw(2, rng()).log_probs, other.draw(2, rng()).log_probs)
    assert (player.baseline.value, player.updates) == (other.baseline.value, other.updates)
