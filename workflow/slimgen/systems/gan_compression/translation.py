"""Training of a translating GAN from data alone: pix2pix, CycleGAN, GauGAN.

Teachers, mobile teachers and the students that are trained without distillation share it. Generator
and discriminator step on the same forward pass: each sees the other as it was before the step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from slimgen.config.translation import TranslationSettings
from slimgen.data.pairs import Pairs
from slimgen.networks.gan_generators import initialise
from slimgen.networks.translators import save_translator
from slimgen.systems.gan_compression.adversary import Adversary, save_adversary
from slimgen.systems.gan_compression.cycles import Cycles
from slimgen.systems.gan_compression.objective import (
    draw_batch,
    load_perceptual,
    translation_terms,
)
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job
from slimgen.training.loop import train
from slimgen.training.player import Player
from slimgen.training.precision import Compute, resolve
from slimgen.training.seeding import make_rng


class Direct:
    """A generator in training on aligned pairs."""

    def __init__(
        self,
        settings: TranslationSettings,
        generator: nn.Module,
        pairs: Pairs,
        *,
        compute: Compute,
        seed: int,
    ) -> None:
        self.settings, self.pairs, self.compute, self.seed = settings, pairs, compute, seed
        self.player = Player(
            generator, settings.optimizer, compute, decay_start=settings.decay_start
        )
        self.ema = Ema(generator, settings.ema.decay, settings.ema.warmup, average_buffers=True)
        self.forward = compute.compiled(generator)
        self.adversary = Adversary(settings, pairs, compute=compute, seed=seed)
        self.perceptual = load_perceptual(settings, compute)

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        return self.player.state("generator") | self.adversary.state() | {"ema": self.ema}

    def beside(self) -> dict[str, nn.Module]:
        """Return what is trained beside the generator: its discriminator."""
        return {"discriminator": self.adversary.network}

    def update(self, step: int, rng: torch.Generator) -> dict[str, Any]:
        """Take one step of the generator, and of the discriminator on the same images."""
        x, y = draw_batch(
            self.settings, self.pairs, step=step, seed=self.seed, device=self.compute.device
        )
        with self.compute.autocast():
            fakes = self.forward(x).float()
        terms = translation_terms(
            self.settings,
            self.adversary,
            self.perceptual,
            inputs=x,
            fakes=fakes,
            reals=y,
            wanted=y,
        )
        loss = torch.stack(list(terms.values())).sum()
        self.player.step(loss, step=step, steps=self.settings.steps)
        metrics = self.adversary.train(fakes, reals=y, inputs=x, step=step)
        self.ema.update(self.player.network, step)
        parts = {f"loss_{name}": term.detach() for name, term in terms.items()}
        return {"loss": loss.detach()} | parts | metrics


def begin(
    network: nn.Module, settings: TranslationSettings, *, seed: int, stream: str = "generator"
) -> nn.Module:
    """Give a generator the settings' random weights; return it."""
    rng = make_rng(seed, 0, f"init/{stream}")
    initialise(network, settings.init, rng, gain=settings.init_gain)
    return network


def train_translation(
    settings: TranslationSettings,
    job: Job,
    generator: nn.Module,
    pairs: Pairs,
    *,
    back: nn.Module | None = None,
) -> None:
    """Train a generator from its present weights; write it and adversary.safetensors.

    `back` is the generator of the way back, which the unpaired task needs. Raises StageError where
    images do not fit, Stopped on request.
    """
    compute = resolve(settings.runtime, job.device)
    run: Direct | Cycles
    if settings.task == "unpaired":
        assert back is not None
        run = Cycles(settings, generator, back, pairs, compute=compute, seed=job.seed)
    else:
        run = Direct(settings, generator, pairs, compute=compute, seed=job.seed)
    train(job, settings, update=run.update, state=run.state())
    save_adversary(job.out, run.beside())
    save_translator(job.out, run.ema.module)
