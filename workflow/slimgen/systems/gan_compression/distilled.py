"""Training of a narrower generator under a wider one (Li et al. 2020, GAN Compression).

L = lambda_gan L_GAN + lambda_recon |G(x) - r|_1 + ...
  + lambda_distill sum_t mean (f_t(G_t(x)) - G'_t(x))^2

r is the pair's target; without pairs it is what the teacher G' makes of x (pseudo pairs), so that
one direction and one discriminator are left. f_t are 1x1 convolutions on the student's features,
trained along with it. The same update trains one student, and a supernet whose width vectors are
drawn anew in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.config.gan_compression import DistilledSettings
from slimgen.data.pairs import Pairs
from slimgen.distillation.module_taps import Adapters, distillation_loss, tap_channels, tapped
from slimgen.networks.custom_generator import CustomShape
from slimgen.networks.elastic_surgery import ElasticNetwork
from slimgen.networks.gan_generators import initialise
from slimgen.networks.translators import Shape, build_translator, default_taps, open_translator
from slimgen.systems.gan_compression.adversary import Adversary, load_adversary
from slimgen.systems.gan_compression.objective import (
    draw_batch,
    load_perceptual,
    translation_terms,
)
from slimgen.systems.gan_compression.translation import begin
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import StageError
from slimgen.training.player import Player
from slimgen.training.precision import Compute
from slimgen.training.seeding import derive_seed, make_rng

Widths = tuple[int, ...]
Draw = Callable[[int], Sequence[Widths]]  # step -> the subnets that are trained in it


def find_taps(settings: DistilledSettings, teacher: nn.Module) -> tuple[str, ...]:
    """Return the modules distilled from.

    Raises StageError where a custom generator's are not named.
    """
    taps = default_taps(teacher) if settings.taps is None else settings.taps
    if not taps:
        raise StageError("taps: name the modules of the generator that are distilled from")
    return taps


def fresh_generator(shape: Shape, settings: DistilledSettings, *, seed: int) -> nn.Module:
    """Return a generator with the settings' random weights; a custom one keeps its callable's.

    Raises ValueError for a shape that there is none of.
    """
    torch.manual_seed(derive_seed(seed, 0, "build/student"))
    network = build_translator(shape)
    return network if isinstance(shape, CustomShape) else begin(network, settings, seed=seed)


def load_init(settings: DistilledSettings, network: nn.Module) -> None:
    """Give a generator the weights of the finished one that `init_from` names, if it does.

    Raises StageError where that cannot be read or is another network.
    """
    if settings.init_from is None:
        return
    try:
        finished = open_translator(Path(settings.init_from), build=settings.build)
        network.load_state_dict(finished.state_dict())
    except (ValueError, RuntimeError) as error:
        raise StageError(f"init_from: {' '.join(str(error).split()[:40])}") from None


class Distillation:
    """A student, or a supernet, in training."""

    def __init__(
        self,
        settings: DistilledSettings,
        student: nn.Module,
        teacher: nn.Module,
        pairs: Pairs,
        *,
        taps: Sequence[str],
        draw: Draw | None,
        compute: Compute,
        seed: int,
    ) -> None:
        """Make adapters, discriminator and optimizers.

        `taps` may be empty: then no features are matched. `draw` goes with an ElasticNetwork.
        Raises StageError naming a tap that does not exist, or images that do not fit.
        """
        self.settings, self.pairs, self.compute, self.seed = settings, pairs, compute, seed
        self.taps, self.draw = tuple(taps), draw
        self.student = compute.place(student).requires_grad_(True)
        self.teacher = compute.place(teacher)
        parts = nn.ModuleList([self.student])
        self.adapters: Adapters | None = None
        if self.taps:
            self.adapters = self._make_adapters()
            parts.append(self.adapters)
        self.player = Player(parts, settings.optimizer, compute, decay_start=settings.decay_start)
        self.ema = Ema(student, settings.ema.decay, settings.ema.warmup, average_buffers=True)
        self.adversary = Adversary(settings, pairs, compute=compute, seed=seed)
        self.perceptual = load_perceptual(settings, compute)

    def _make_adapters(self) -> Adapters:
        x = self.pairs.batch_inputs(torch.zeros(1, dtype=torch.int64), self.compute.device)
        try:
            channels = [
                tap_channels(network, self.taps, x) for network in (self._plain, self.teacher)
            ]
        except ValueError as error:
            raise StageError(f"taps: {error}") from None
        adapters = Adapters(*channels)
        rng = make_rng(self.seed, 0, "init/adapters")
        initialise(adapters, self.settings.init, rng, gain=self.settings.init_gain)
        return adapters

    @property
    def _plain(self) -> nn.Module:
        """Return the generator itself, whose modules are tapped."""
        return self.student.network if isinstance(self.student, ElasticNetwork) else self.student

    def begin_with_adversary(self, folder: Path) -> None:
        """Give the discriminator the weights of the one that was trained beside another generator.

        Raises StageError where that is another network.
        """
        try:
            load_adversary(folder, self.adversary.network)
        except ValueError as error:
            raise StageError(f"discriminator_init: {error}") from None

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        return self.player.state("student") | self.adversary.state() | {"ema": self.ema}

    def beside(self) -> dict[str, nn.Module]:
        """Return what is trained beside the generator: its discriminator."""
        return {"discriminator": self.adversary.network}

    def update(self, step: int, rng: torch.Generator) -> dict[str, Any]:
        """Take one step of the student, and of the discriminator on the same images."""
        x, y = draw_batch(
            self.settings, self.pairs, step=step, seed=self.seed, device=self.compute.device
        )
        wanted, theirs = self._teach(x, y)
        drawn: Sequence[Widths | None] = [None] if self.draw is None else self.draw(step)
        made, terms = zip(*(self._learn(x, y, wanted, theirs, w) for w in drawn), strict=True)
        means = {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}
        loss = torch.stack(list(means.values())).sum()
        self.player.step(loss, step=step, steps=self.settings.steps)
        n = len(drawn)
        metrics = self.adversary.train(
            torch.cat(made), reals=y.repeat(n, 1, 1, 1), inputs=x.repeat(n, 1, 1, 1), step=step
        )
        self.ema.update(self.student, step)
        parts = {f"loss_{name}": term.detach() for name, term in means.items()}
        return {"loss": loss.detach()} | parts | metrics

    @torch.no_grad()
    def _teach(
        self, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return what G(x) should be, and the teacher's features."""
        pseudo = self.settings.task == "unpaired"
        if not pseudo and not self.taps:
            return y, {}
        with self.compute.autocast(), tapped(self.teacher, self.taps) as features:
            output = self.teacher(x)
        return (output.float() if pseudo else y), features

    def _learn(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        wanted: torch.Tensor,
        theirs: dict[str, torch.Tensor],
        widths: Widths | None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return G(x) of one network, and the weighted terms of its loss."""
        kept = None
        with self.compute.autocast(), tapped(self._plain, self.taps) as ours:
            if widths is None:
                fakes = self.student(x).float()
            else:
                assert isinstance(self.student, ElasticNetwork)
                plan = self.student.plan
                kept = {path: plan.kept(plan.taps[path], widths) for path in plan.taps}
                fakes = self.student(x, widths).float()
        terms = translation_terms(
            self.settings,
            self.adversary,
            self.perceptual,
            inputs=x,
            fakes=fakes,
            reals=y,
            wanted=wanted,
        )
        if self.adapters is not None:
            with self.compute.autocast():
                matched = distillation_loss(self.adapters, ours, theirs, kept=kept)
            terms["distill"] = self.settings.lambda_distill * matched
        return fakes, terms
