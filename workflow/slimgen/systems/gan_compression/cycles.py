"""CycleGAN (Zhu et al. 2017): two generators G: x -> y and F: y -> x, two discriminators.

L = l_G(D_y(G(x))) + l_G(D_x(F(y))) + lambda (|F(G(x)) - x|_1 + |G(F(y)) - y|_1)
  + lambda lambda_identity (|G(y) - y|_1 + |F(x) - x|_1)

The discriminators see generated images of earlier steps, too, through a pool.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.adversarial.pool import ImagePool
from slimgen.config.translation import TranslationSettings
from slimgen.data.pairs import Pairs
from slimgen.systems.gan_compression.adversary import Adversary
from slimgen.systems.gan_compression.objective import draw_batch
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import StageError
from slimgen.training.player import Player
from slimgen.training.precision import Compute
from slimgen.training.seeding import make_rng

SIDES = ("targets", "inputs")


class Cycles:
    """Two generators in training on unpaired images."""

    def __init__(
        self,
        settings: TranslationSettings,
        generator: nn.Module,
        back: nn.Module,
        pairs: Pairs,
        *,
        compute: Compute,
        seed: int,
    ) -> None:
        if settings.lambda_identity and pairs.input_channels != pairs.target_channels:
            raise StageError(
                f"lambda_identity: inputs have {pairs.input_channels} channels and targets "
                f"{pairs.target_channels}; only equal ones can be compared, set it 0"
            )
        self.settings, self.pairs, self.compute, self.seed = settings, pairs, compute, seed
        both = nn.ModuleList([generator, back])
        self.generators = Player(
            both, settings.optimizer, compute, decay_start=settings.decay_start
        )
        self.ema = Ema(generator, settings.ema.decay, settings.ema.warmup, average_buffers=True)
        self.forward, self.backward = compute.compiled(generator), compute.compiled(back)
        self.back = back
        sides = dict(zip(SIDES, (pairs, pairs.swapped()), strict=True))
        self.adversaries = {
            side: Adversary(
                settings, seen, compute=compute, seed=seed, stream=f"init/discriminator/{side}"
            )
            for side, seen in sides.items()
        }
        self.pools = {
            side: ImagePool(settings.pool_size, (seen.target_channels, *seen.targets.shape[-2:]))
            for side, seen in sides.items()
        }

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        state = self.generators.state("generators") | {"ema": self.ema}
        for side in SIDES:
            state |= self.adversaries[side].state(f"discriminator_{side}")
            state[f"pool_{side}"] = self.pools[side]
        return state

    def beside(self) -> dict[str, nn.Module]:
        """Return what is trained beside the generator: its discriminator and the way back."""
        return {
            "discriminator": self.adversaries["targets"].network,
            "back.generator": self.back,
            "back.discriminator": self.adversaries["inputs"].network,
        }

    def update(self, step: int, rng: torch.Generator) -> dict[str, Any]:
        """Take one step of both generators, then of both discriminators on the same images."""
        settings = self.settings
        x, y = draw_batch(
            settings, self.pairs, step=step, seed=self.seed, device=self.compute.device
        )
        with self.compute.autocast():
            fake_y, fake_x = self.forward(x).float(), self.backward(y).float()
            again_x, again_y = self.backward(fake_y).float(), self.forward(fake_x).float()
        fakes, reals = {"targets": fake_y, "inputs": fake_x}, {"targets": y, "inputs": x}
        gan = [
            self.adversaries[side].generator_terms(fakes[side], reals=reals[side], inputs=x)["gan"]
            for side in SIDES
        ]
        terms = {
            "gan": gan[0] + gan[1],
            "cycle": settings.lambda_cycle * (F.l1_loss(again_x, x) + F.l1_loss(again_y, y)),
        }
        if settings.lambda_identity:
            with self.compute.autocast():
                same_y, same_x = self.forward(y).float(), self.backward(x).float()
            terms["identity"] = (
                settings.lambda_cycle
                * settings.lambda_identity
                * (F.l1_loss(same_y, y) + F.l1_loss(same_x, x))
            )
        loss = torch.stack(list(terms.values())).sum()
        self.generators.step(loss, step=step, steps=self.settings.steps)
        metrics: dict[str, Any] = {"loss": loss.detach()}
        metrics |= {f"loss_{name}": term.detach() for name, term in terms.items()}
        for side in SIDES:
            pool_rng = make_rng(self.seed, step, f"pool/{side}")
            seen = self.pools[side].exchange(fakes[side].detach(), pool_rng)
            found = self.adversaries[side].train(seen, reals=reals[side], inputs=x, step=step)
            metrics |= {f"{name}_{side}": value for name, value in found.items()}
        self.ema.update(self.generator, step)
        return metrics

    @property
    def generator(self) -> nn.Module:
        """Return the generator of targets."""
        networks = self.generators.network
        assert isinstance(networks, nn.ModuleList)
        return networks[0]
