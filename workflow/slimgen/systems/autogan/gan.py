"""One update of a GAN with hinge losses (Lim and Ye 2017), for shared and for derived generators.

L_D = E relu(1 - D(x)) + E relu(1 + D(G(z))),   L_G = -E D(G(z))

In the release's order: D, G, then D n_critic - 1 times. Real and generated images go through D in
one batch, so spectral norm takes one power iteration per update of D.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from slimgen.adversarial.losses import fake_loss, generator_loss, real_loss
from slimgen.config.autogan import DerivedSettings, SearchSettings
from slimgen.data.dataset import Images
from slimgen.networks.sngan_discriminator import SnganDiscriminator
from slimgen.training.checkpoint import Stateful
from slimgen.training.player import Player
from slimgen.training.precision import Compute
from slimgen.training.seeding import batch_indices, make_rng

Generate = Callable[[torch.Tensor], torch.Tensor]  # z (n, z_dim) -> images
Choose = Callable[[int], Generate]  # number of an update of D -> the generator it looks at


def shrink(x: torch.Tensor, size: int) -> torch.Tensor:
    """Return images (n, c, h, w) as means over squares, (n, c, size, size)."""
    factor = x.shape[-1] // size
    return x if factor == 1 else nn.functional.avg_pool2d(x, factor)


class Gan:
    """A generator and its discriminator, trained on `images`."""

    def __init__(
        self,
        settings: SearchSettings | DerivedSettings,
        generator: nn.Module,
        discriminator: SnganDiscriminator,
        *,
        images: Images,
        compute: Compute,
        seed: int,
    ) -> None:
        self.settings, self.images, self.compute, self.seed = settings, images, compute, seed
        self.generator = Player(generator, settings.optimizer, compute)
        self.discriminator = Player(discriminator, settings.discriminator_optimizer, compute)

    def state(self, suffix: str = "") -> dict[str, Stateful]:
        """Return everything that changes."""
        return {
            **self.generator.state(f"generator{suffix}"),
            **self.discriminator.state(f"discriminator{suffix}"),
        }

    def update(
        self, step: int, *, steps: int, stage: int, size: int, choose: Choose
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Train D n_critic times and G once on images of `size`; return D's losses and G's.

        Args:
            step: which update of `steps`, from 0.
            stage: of the discriminator.
            size: width of the images; real ones are shrunk to it.
            choose: gives the generator that an update of D looks at; G's own uses the first.
        """
        n = self.settings.n_critic
        first = choose(step * n)
        losses = [self._train_discriminator(step * n, n * steps, first, stage, size)]
        loss_g = self._train_generator(step, steps, first, stage)
        for number in range(step * n + 1, (step + 1) * n):
            generate = choose(number)
            losses.append(self._train_discriminator(number, n * steps, generate, stage, size))
        return losses, loss_g

    def _train_discriminator(
        self, number: int, steps: int, generate: Generate, stage: int, size: int
    ) -> torch.Tensor:
        settings, device = self.settings, self.compute.device
        indices = batch_indices(len(self.images), settings.batch_size, number, self.seed)
        flip = make_rng(self.seed, number, "flip", device) if settings.flip else None
        reals = shrink(self.images.batch(indices, device, flip), size)
        with self.compute.autocast():
            with torch.no_grad():
                fakes = generate(self._noise(number, "z/discriminator", len(reals)))
            logits = self.discriminator.network(torch.cat([reals, fakes]), stage).float()
        d_real, d_fake = logits[: len(reals)], logits[len(reals) :]
        loss = real_loss(d_real, "hinge").mean() + fake_loss(d_fake, "hinge").mean()
        self.discriminator.step(loss, step=number, steps=steps)
        return loss.detach()

    def _train_generator(
        self, step: int, steps: int, generate: Generate, stage: int
    ) -> torch.Tensor:
        z = self._noise(step, "z/generator", self.settings.generator_batch)
        self.discriminator.network.requires_grad_(False)
        with self.compute.autocast():
            logits = self.discriminator.network(generate(z), stage)
        self.discriminator.network.requires_grad_(True)
        loss = generator_loss(logits.float(), "hinge").mean()
        self.generator.step(loss, step=step, steps=steps)
        return loss.detach()

    def _noise(self, number: int, stream: str, count: int) -> torch.Tensor:
        rng = make_rng(self.seed, number, stream, self.compute.device)
        return torch.randn(count, self.settings.z_dim, generator=rng, device=self.compute.device)
