"""The adversarial half of ACT (Kong et al. 2024): discriminator, its step, R1, augmentation p.

L_D = mean lambda_N(n) l_fake(D(A_p(f(x_n, sigma_n)), sigma_n))
    + mean lambda_N(m) l_real(D(A_p(x), sigma_m)), every `r1_interval` steps + mean lambda_N(m) R1.
Generated and real images get their noise levels independently, with the same distribution, and
their augmentation independently, with the same p. All draws come from streams of their own: the
generator's do not depend on them.
"""

from __future__ import annotations

from typing import Any

import torch

from slimgen.adversarial.augment import augment
from slimgen.adversarial.augment_control import AugmentControl, augment_step
from slimgen.adversarial.losses import fake_loss, generator_loss, real_loss
from slimgen.adversarial.penalties import r1_penalty
from slimgen.config.act import StudentSettings
from slimgen.diffusion.denoiser import ConsistencyProcess
from slimgen.networks.time_discriminator import TimeDiscriminator
from slimgen.systems.act.objective import Noised, draw_index
from slimgen.systems.act.schedule import adversarial_weight
from slimgen.training.checkpoint import Stateful
from slimgen.training.player import Player
from slimgen.training.precision import Compute
from slimgen.training.seeding import make_rng


class Adversary:
    """A discriminator with its optimizer and the augmentation that it controls."""

    def __init__(
        self,
        settings: StudentSettings,
        discriminator: TimeDiscriminator,
        *,
        process: ConsistencyProcess,
        compute: Compute,
        seed: int,
    ) -> None:
        self.settings, self.process, self.compute = settings, process, compute
        self.seed = seed
        self.player = Player(discriminator, settings.discriminator_optimizer, compute)
        self.discriminator = self.player.network
        self.judge = compute.compiled(self.discriminator)
        self.control = AugmentControl(
            tau=settings.augment.tau,
            # A step draws 2 batch_size images: the generator's, and as many for the discriminator.
            delta=augment_step(
                images_per_step=2 * settings.batch_size,
                interval=settings.r1_interval,
                ada_length=settings.augment.ada_length,
            ),
            decay=settings.augment.r1_decay,
            p_max=settings.augment.p_max if settings.augment.enabled else 0.0,
        )

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        return self.player.state("discriminator") | {"augment": self.control}

    def generator_loss(self, images: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
        """Return the adversarial loss of generated images, (n,); D's weights get no gradient."""
        rng = self._rng(step, "augment/generator")
        self.discriminator.requires_grad_(False)
        augmented = augment(images, self.control.p, rng)
        with self.compute.autocast():
            logits = self.judge(augmented, self.process.condition(sigma))
        self.discriminator.requires_grad_(True)
        return generator_loss(logits.float(), self.settings.adversarial)

    def train(
        self,
        step: int,
        noised: Noised,
        *,
        fakes: torch.Tensor,
        reals: torch.Tensor,
        steps: int,
    ) -> dict[str, Any]:
        """Take step `step` of `steps` on generated images (of `noised`) and real ones."""
        settings, kind, p = self.settings, self.settings.adversarial, self.control.p
        times = draw_index(noised.scales, len(reals), self._rng(step, "times"))  # m
        real_sigma = noised.grid[times]
        fakes = augment(fakes.detach(), p, self._rng(step, "augment/fake"))
        reals = augment(reals, p, self._rng(step, "augment/real"))
        with self.compute.autocast():
            sigmas = self.process.condition(torch.cat([noised.sigma(), real_sigma]))
            logits = self.judge(torch.cat([fakes, reals]), sigmas).float()
        d_fake, d_real = logits[: len(fakes)], logits[len(fakes) :]
        weigh_fake = adversarial_weight(settings.weight, noised.index, noised.scales)
        weigh_real = adversarial_weight(settings.weight, times, noised.scales)
        loss = (weigh_fake * fake_loss(d_fake, kind)).mean()
        loss = loss + (weigh_real * real_loss(d_real, kind)).mean()
        metrics = {"loss_d": loss, "d_fake": d_fake.mean(), "d_real": d_real.mean()}
        if step % settings.r1_interval == 0:
            r1 = self._r1(reals, real_sigma)  # before the step, in full precision
            loss = loss + settings.r1_lazy_scale * (weigh_real * r1).mean()
            value = float(r1.detach().mean())
            self.control.update(value)
            metrics |= {"r1": value, "r1_average": self.control.r1_average}
        self.player.step(loss, step=step, steps=steps)
        return metrics | ({"augment_p": self.control.p} if settings.augment.enabled else {})

    def _r1(self, images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        # The eager module: compiled graphs have no second derivatives.
        condition = self.process.condition(sigma)
        return r1_penalty(
            lambda x: self.discriminator(x, condition), images, gamma=self.settings.r1_gamma
        )

    def _rng(self, step: int, stream: str) -> torch.Generator:
        return make_rng(self.seed, step, stream, self.compute.device)
