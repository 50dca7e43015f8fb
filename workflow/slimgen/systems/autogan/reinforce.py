"""REINFORCE with a moving-average baseline and an entropy bonus, and the agent that it trains.

L = -1/B sum_b [ (r_b - baseline) sum_t log pi(a_bt) + w sum_t H(pi_bt) ]      (Williams 1992)

The agent has a new controller, fresh weights and optimizer, in every stage; beams hand on the cells
decided so far and the hidden states. (The release multiplies a (1, T) by a (T, 1) here, which is
right for no batch, and so weighs the reward T times; that is not repeated.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from slimgen.config.autogan import Baseline as BaselineSettings
from slimgen.config.autogan import SearchSettings
from slimgen.networks.autogan_arch import Arch
from slimgen.systems.autogan.beam import Beam, draw_beams
from slimgen.systems.autogan.controller import Controller
from slimgen.systems.autogan.space import Space
from slimgen.training.optimizers import make_optimizer, optimizer_step
from slimgen.training.seeding import derive_seed


def policy_loss(
    log_probs: torch.Tensor, entropies: torch.Tensor, advantages: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return L of log_probs and entropies (B, T) and advantages (B,)."""
    return -(advantages * log_probs.sum(1) + weight * entropies.sum(1)).mean()


class Baseline:
    """Moving average of rewards; the first reward is where it starts."""

    def __init__(self, settings: BaselineSettings) -> None:
        self.settings = settings
        self.value: float | None = None

    def advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return r - baseline for rewards (B,), and move towards their mean."""
        mean, decay = float(rewards.mean()), self.settings.decay
        before = mean if self.value is None else self.value
        self.value = decay * before + (1 - decay) * mean
        return rewards - (self.value if self.settings.update_first else before)


@dataclass(frozen=True)
class Drawn:
    """B architectures as the agent drew them; of a uniform agent log-probs and entropies are 0."""

    archs: tuple[Arch, ...]
    log_probs: torch.Tensor  # (B, T)
    entropies: torch.Tensor  # (B, T)
    hidden: torch.Tensor  # (B, 2, hidden)

    def beams(self, scores: list[float]) -> list[Beam]:
        """Return the architectures as candidates for the beam."""
        states = self.hidden.detach()
        return [Beam(*item) for item in zip(self.archs, states, scores, strict=True)]


class Agent:
    """Draws architectures of the stage at hand, and learns from their rewards."""

    def __init__(
        self, settings: SearchSettings, space: Space, *, seed: int, device: torch.device
    ) -> None:
        self.settings, self.space, self.seed, self.device = settings, space, seed, device
        self.stages = space.stages(mlas=settings.mlas)
        self.begin(0, [])

    def begin(self, stage: int, beams: list[Beam]) -> None:
        """Start a stage from the beams of the one before it."""
        settings = self.settings
        self.stage, self.beams, self.baseline = stage, beams, Baseline(settings.baseline)
        self.tokens = self.space.tokens(self.stages[stage])
        self.updates = 0
        self.controller: Controller | None = None
        if settings.method == "reinforce":
            torch.manual_seed(derive_seed(self.seed, stage, "controller"))
            self.controller = Controller(self.tokens, settings.hidden).to(self.device)
            self.optimizer = make_optimizer(
                self.controller.parameters(), settings.controller_optimizer
            )

    @property
    def cells(self) -> int:
        """Return how many cells the architectures of this stage have."""
        return self.stages[self.stage].stop

    def draw(self, count: int, rng: torch.Generator) -> Drawn:
        """Return `count` architectures, each the continuation of a random beam."""
        hidden = torch.zeros(count, 2, self.settings.hidden, device=self.device)
        prefixes: list[tuple[int, ...]] = [()] * count
        if self.beams:
            origins = draw_beams(self.beams, count, rng)
            prefixes = [beam.arch.code for beam in origins]
            hidden = torch.stack([beam.hidden for beam in origins]).to(self.device)
        if self.controller is None:
            columns = [
                torch.randint(size, (count,), generator=rng, device=rng.device)
                for size in self.tokens
            ]
            actions = torch.stack(columns, 1)
            log_probs = entropies = torch.zeros(actions.shape, device=self.device)
        else:
            rollout = self.controller(hidden, rng=rng)
            actions, hidden = rollout.actions, rollout.hidden
            log_probs, entropies = rollout.log_probs, rollout.entropies
        codes = [(*p, *a) for p, a in zip(prefixes, actions.tolist(), strict=True)]
        return Drawn(tuple(map(Arch.from_code, codes)), log_probs, entropies, hidden)

    def learn(self, drawn: Drawn, rewards: list[float], *, updates: int) -> dict[str, Any]:
        """Take one of the `updates` steps of this stage; a uniform agent has nothing to learn."""
        if self.controller is None:
            return {}
        settings, r = self.settings, torch.tensor(rewards, device=self.device)
        advantages = self.baseline.advantages(r)
        loss = policy_loss(drawn.log_probs, drawn.entropies, advantages, settings.entropy_weight)
        loss.backward()
        optimizer_step(
            self.optimizer, settings.controller_optimizer, step=self.updates, steps=updates
        )
        self.updates += 1
        return {
            "loss_controller": loss,
            "baseline": self.baseline.value,
            "entropy": drawn.entropies.detach().sum(1).mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return stage, beams, baseline, controller and optimizer."""
        learnt = {}
        if self.controller is not None:
            learnt = {
                "controller": self.controller.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        return {
            "stage": self.stage,
            "updates": self.updates,
            "baseline": self.baseline.value,
            "beams": [
                {"code": list(b.arch.code), "hidden": b.hidden, "score": b.score}
                for b in self.beams
            ],
        } | learnt

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them; the controller is rebuilt for the saved stage first."""
        beams = [
            Beam(Arch.from_code(item["code"]), item["hidden"].to(self.device), item["score"])
            for item in state["beams"]
        ]
        self.begin(state["stage"], beams)
        self.updates, self.baseline.value = state["updates"], state["baseline"]
        if self.controller is not None:
            self.controller.load_state_dict(state["controller"])
            self.optimizer.load_state_dict(state["optimizer"])
