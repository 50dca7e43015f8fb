"""Generators of fixed architectures trained from scratch: the common half of student and transfer.

Several are trained one after another in one loop, each from the same random stream: same real
images, same z. Nothing is chosen here, and the last average is kept: the release keeps the
checkpoint with the best FID of all, which is selection on the number that it reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from slimgen.config.autogan import DerivedSettings
from slimgen.data.dataset import Images
from slimgen.networks.autogan_arch import Arch
from slimgen.networks.autogan_generator import AutoGanGenerator, load_generator
from slimgen.networks.sngan_discriminator import SnganDiscriminator
from slimgen.networks.unet import copy_weights
from slimgen.systems.autogan.gan import Gan
from slimgen.systems.autogan.space import bottom_width
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.precision import Compute
from slimgen.training.seeding import derive_seed


class Derived:
    """One architecture in training: the GAN and the average of its generator."""

    def __init__(
        self, settings: DerivedSettings, arch: Arch, *, images: Images, compute: Compute, seed: int
    ) -> None:
        torch.manual_seed(derive_seed(seed, 0, "init"))
        channels = images.shape[0]
        self.stage = len(arch) - 1
        self.network = AutoGanGenerator(
            code=list(arch.code),
            width=settings.generator_width,
            bottom_width=bottom_width(arch, images.shape),
            z_dim=settings.z_dim,
            channels=channels,
            skip_source=settings.skip_source,
        )
        if settings.init_from is not None:
            copy_weights(self.network, load_generator(Path(settings.init_from)))
        discriminator = SnganDiscriminator(
            width=settings.discriminator_width, cells=len(arch), channels=channels
        )
        self.gan = Gan(
            settings, self.network, discriminator, images=images, compute=compute, seed=seed
        )
        self.ema = Ema(
            self.network,
            settings.ema.decay,
            settings.ema.warmup,
            average_buffers=settings.average_buffers,
        )
        # Spectral norm changes its vectors in every pass, so D stays as it is.
        self.forward = compute.compiled(self.network)

    def update(self, step: int, *, steps: int) -> dict[str, Any]:
        """Take update `step` of `steps`."""
        losses, loss_g = self.gan.update(
            step,
            steps=steps,
            stage=self.stage,
            size=self.network.shape[1],
            choose=lambda _: self.forward,
        )
        self.ema.update(self.network, step)
        return {"loss": sum(losses) / len(losses), "loss_g": loss_g}

    def state(self, suffix: str) -> dict[str, Stateful]:
        """Return everything that changes."""
        return self.gan.state(suffix) | {f"ema{suffix}": self.ema}


def train_derived(
    settings: DerivedSettings,
    job: Job,
    archs: Sequence[Arch],
    *,
    images: Images,
    compute: Compute,
) -> list[AutoGanGenerator]:
    """Train each architecture for settings.steps updates; return the averaged generators.

    Raises StageError where an architecture does not make the images, or `init_from` does not fit.
    """
    try:
        derived = [
            Derived(settings, arch, images=images, compute=compute, seed=job.seed) for arch in archs
        ]
    except ValueError as error:
        raise StageError(f"{job.stage}.init_from: {error}") from None

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        index, own = divmod(step, settings.steps)
        return derived[index].update(own, steps=settings.steps) | {"candidate": index}

    train(
        job,
        settings,
        update=update,
        state={k: v for i, item in enumerate(derived) for k, v in item.state(str(i)).items()},
        images_per_step=settings.n_critic * settings.batch_size,
        steps=len(derived) * settings.steps,
    )
    averages = []
    for item in derived:
        assert isinstance(item.ema.module, AutoGanGenerator)
        averages.append(item.ema.module)
    return averages
