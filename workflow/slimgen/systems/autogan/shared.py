"""The weight-sharing GAN of a search: one generator for all architectures, and its collapse.

Every update of D looks at an architecture drawn for it; G's update takes the first of these.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from slimgen.config.autogan import SearchSettings
from slimgen.data.dataset import Images
from slimgen.networks.autogan_generator import SharedGenerator, extract
from slimgen.networks.sngan_discriminator import SnganDiscriminator
from slimgen.systems.autogan.gan import Gan, Generate
from slimgen.systems.autogan.reinforce import Agent, Drawn
from slimgen.systems.autogan.reset import LossWindows
from slimgen.systems.autogan.reward import Judge
from slimgen.systems.autogan.space import Space
from slimgen.training.checkpoint import Stateful, Values
from slimgen.training.precision import Compute
from slimgen.training.seeding import derive_seed, make_rng


def new_networks(
    settings: SearchSettings, space: Space, *, channels: int, seed: int, resets: int
) -> tuple[SharedGenerator, SnganDiscriminator]:
    """Return G and D with the random weights that they have after `resets` resets."""
    torch.manual_seed(derive_seed(seed, resets, "shared"))
    generator = SharedGenerator(
        width=settings.generator_width,
        cells=space.cells,
        bottom_width=space.bottom_width,
        z_dim=settings.z_dim,
        channels=channels,
        skip_source=settings.skip_source,
    )
    return generator, SnganDiscriminator(
        width=settings.discriminator_width, cells=space.cells, channels=channels
    )


class SharedGan:
    """G and D of a search, the windows of their losses, and how often they began anew."""

    def __init__(
        self,
        settings: SearchSettings,
        space: Space,
        *,
        images: Images,
        compute: Compute,
        seed: int,
    ) -> None:
        self.settings, self.space, self.images, self.seed = settings, space, images, seed
        generator, discriminator = self._fresh(0)
        self.generator = generator
        self.gan = Gan(
            settings, generator, discriminator, images=images, compute=compute, seed=seed
        )
        self.windows = LossWindows(settings.reset)
        self.values = Values(collapsed=False, resets=0)

    def _fresh(self, resets: int) -> tuple[SharedGenerator, SnganDiscriminator]:
        return new_networks(
            self.settings,
            self.space,
            channels=self.images.shape[0],
            seed=self.seed,
            resets=resets,
        )

    @property
    def collapsed(self) -> bool:
        """Return whether the losses stopped varying; training waits for the reset then."""
        return bool(self.values["collapsed"])

    def update(self, number: int, *, steps: int, agent: Agent) -> dict[str, Any]:
        """Take update `number` of `steps` with architectures of the agent; watch the losses."""
        device = self.gan.compute.device

        def choose(critic: int) -> Generate:
            with torch.no_grad():
                drawn = agent.draw(1, make_rng(self.seed, critic, "arch", device))
            return partial(self._generate, drawn)

        losses, loss_g = self.gan.update(
            number,
            steps=steps,
            stage=agent.cells - 1,
            size=self.space.bottom_width * 2**agent.cells,
            choose=choose,
        )
        d = [float(loss) for loss in losses]
        self.windows.add(generator=[float(loss_g)], discriminator=d)
        if self.windows.collapsed:
            self.windows.clear()
            self.values["collapsed"] = True
        return {"loss": sum(d) / len(d), "loss_g": loss_g, "stage": agent.stage}

    def _generate(self, drawn: Drawn, z: torch.Tensor) -> torch.Tensor:
        return self.generator(z, drawn.archs[0])

    def begin_anew(self) -> None:
        """Start G, D and their optimizers from new random weights."""
        self.values["resets"] += 1
        self.values["collapsed"] = False
        generator, discriminator = self._fresh(self.values["resets"])
        self.gan.generator.begin_anew(generator)
        self.gan.discriminator.begin_anew(discriminator)

    def rewards(self, drawn: Drawn, judge: Judge, rng: torch.Generator) -> list[float]:
        """Return the reward of each architecture; the shared weights and statistics stay."""
        batches = self.settings.calibration_batches if self.settings.recalibrate else 0
        return [
            judge.reward(extract(self.generator, arch), rng, calibration_batches=batches)
            for arch in drawn.archs
        ]

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        return {**self.gan.state(), "windows": self.windows, "shared": self.values}
