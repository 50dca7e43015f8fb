"""One side of an adversarial training: a network with an optimizer of its own."""

from __future__ import annotations

import torch
from torch import nn

from slimgen.config.base import Optimizer
from slimgen.training.checkpoint import Stateful
from slimgen.training.optimizers import make_optimizer, optimizer_step
from slimgen.training.precision import Compute


class Player:
    """A network of a GAN and its optimizer, whose rate may fall from a share of the steps on."""

    def __init__(
        self, network: nn.Module, rates: Optimizer, compute: Compute, *, decay_start: float = 0.0
    ) -> None:
        self.network = compute.place(network).train()
        self.rates, self.decay_start = rates, decay_start
        self.optimizer = make_optimizer(self.network.parameters(), rates)
        self.scaler = compute.scaler()

    def step(self, loss: torch.Tensor, *, step: int, steps: int) -> None:
        """Go step number `step` of `steps` down the loss; what it does not reach stays."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        optimizer_step(
            self.optimizer,
            self.rates,
            step=step,
            steps=steps,
            decay_start=self.decay_start,
            scaler=self.scaler,
        )

    def begin_anew(self, fresh: nn.Module) -> None:
        """Take the weights of `fresh` and forget what the optimizer knows."""
        self.network.load_state_dict(fresh.state_dict())
        self.optimizer.state.clear()

    def state(self, name: str) -> dict[str, Stateful]:
        """Return everything that changes."""
        state: dict[str, Stateful] = {name: self.network, f"{name}_optimizer": self.optimizer}
        return state if self.scaler is None else state | {f"{name}_scaler": self.scaler}
