"""The discriminators of image-to-image GANs: made, trained, saved, and what they tell a generator.

With l_real, l_fake, l_G of the chosen loss, averaged over patches (and, if multiscale, scales),
    L_D = h (E l_real(D(y)) + E l_fake(D(G(x)))),  h = 1/2 for a PatchGAN, 1 for a multiscale one
    L_G = E l_G(D(G(x)))
    L_FM = sum_{scales, layers but the last} |D_l(G(x)) - D_l(y)|_1 / number of scales
Paired and semantic discriminators see the input beside the image, unpaired ones the image alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.adversarial.losses import fake_loss, generator_loss, real_loss
from slimgen.config.translation import Discriminator, TranslationSettings
from slimgen.data.pairs import Pairs
from slimgen.networks.gan_generators import initialise
from slimgen.networks.patch_discriminator import MultiscaleDiscriminator, PatchDiscriminator
from slimgen.networks.tensor_file import load_tensors, save_tensors
from slimgen.training.checkpoint import Stateful
from slimgen.training.job import StageError
from slimgen.training.player import Player
from slimgen.training.precision import Compute
from slimgen.training.seeding import make_rng

ADVERSARY = "adversary.safetensors"


def make_discriminator(settings: Discriminator, channels: int) -> nn.Module:
    """Return the settings' discriminator of images with `channels`; raises ValueError."""
    if settings.kind == "patch":
        return PatchDiscriminator(channels, ndf=settings.ndf, num_layers=settings.num_layers)
    return MultiscaleDiscriminator(
        channels,
        ndf=settings.ndf,
        num_layers=settings.num_layers,
        num_scales=settings.num_scales,
    )


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network and stop at its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


class Adversary:
    """One discriminator of targets, seen with the inputs unless the task is unpaired."""

    def __init__(
        self,
        settings: TranslationSettings,
        pairs: Pairs,
        *,
        compute: Compute,
        seed: int,
        stream: str = "init/discriminator",
    ) -> None:
        """Make it with the settings' random weights.

        `pairs` give channels and size, `stream` names the random numbers. Raises StageError where
        the images are too small for it.
        """
        self.settings, self.compute = settings, compute
        self.conditional = settings.task != "unpaired"
        channels = pairs.target_channels + (pairs.input_channels if self.conditional else 0)
        try:
            network = make_discriminator(settings.discriminator, channels)
            with torch.no_grad():
                network.eval()(torch.zeros(1, channels, *pairs.size))
        except (ValueError, RuntimeError) as error:
            raise StageError(f"discriminator: {str(error).partition(chr(10))[0]}") from None
        initialise(network, settings.init, make_rng(seed, 0, stream), gain=settings.init_gain)
        rates = settings.discriminator_optimizer
        self.player = Player(network, rates, compute, decay_start=settings.decay_start)
        self.network = self.player.network
        # Spectral norm changes its vectors in every pass, so D is not compiled.

    def state(self, name: str = "discriminator") -> dict[str, Stateful]:
        """Return everything that changes."""
        return self.player.state(name)

    @property
    def matches_features(self) -> bool:
        """Return whether the generator's loss has a term of feature matching."""
        settings = self.settings
        return settings.task == "semantic" and settings.lambda_feature > 0

    def generator_terms(
        self, fakes: torch.Tensor, *, reals: torch.Tensor, inputs: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the weighted terms `gan` and, if it is on, `feature` of the generator's loss."""
        settings, n = self.settings, len(fakes)
        with frozen(self.network):
            if self.matches_features:
                scales = self._judge(torch.cat([fakes, reals]), torch.cat([inputs, inputs]))
            else:
                scales = self._judge(fakes, inputs)
        losses = [generator_loss(scale[-1][:n], settings.gan_loss).mean() for scale in scales]
        terms = {"gan": settings.lambda_gan * torch.stack(losses).mean()}
        if self.matches_features:
            parts = [
                F.l1_loss(activation[:n], activation[n:].detach())
                for scale in scales
                for activation in scale[:-1]
            ]
            terms["feature"] = settings.lambda_feature * torch.stack(parts).sum() / len(scales)
        return terms

    def train(
        self, fakes: torch.Tensor, *, reals: torch.Tensor, inputs: torch.Tensor, step: int
    ) -> dict[str, Any]:
        """Take step `step` on generated images and real ones of the same inputs."""
        kind, n = self.settings.gan_loss, len(fakes)
        images = torch.cat([fakes.detach(), reals])
        logits = [scale[-1] for scale in self._judge(images, torch.cat([inputs, inputs]))]
        real = torch.stack([real_loss(scale[n:], kind).mean() for scale in logits]).mean()
        fake = torch.stack([fake_loss(scale[:n], kind).mean() for scale in logits]).mean()
        loss = real + fake
        if self.settings.discriminator.kind == "patch":
            loss = 0.5 * loss
        self.player.step(loss, step=step, steps=self.settings.steps)
        finest = logits[0].detach()
        return {"loss_d": loss.detach(), "d_fake": finest[:n].mean(), "d_real": finest[n:].mean()}

    def _judge(self, images: torch.Tensor, inputs: torch.Tensor) -> list[list[torch.Tensor]]:
        """Return the activations per scale in float32, logits last."""
        with self.compute.autocast():
            found = self.network(torch.cat([inputs, images], 1) if self.conditional else images)
        scales = [[found]] if isinstance(found, torch.Tensor) else found
        return [[activation.float() for activation in scale] for scale in scales]


def save_adversary(folder: Path, networks: Mapping[str, nn.Module]) -> None:
    """Write what is trained beside a generator, name -> network, into adversary.safetensors."""
    tensors = {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    save_tensors(folder / ADVERSARY, tensors)


def load_adversary(folder: Path, network: nn.Module, *, name: str = "discriminator") -> None:
    """Give a network the weights that `save_adversary` wrote under a name.

    Raises ValueError naming the file where it is missing, damaged or of another network.
    """
    path = folder / ADVERSARY
    tensors = load_tensors(path)
    prefix = f"{name}."
    own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    if not own:
        raise ValueError(f"{path}: holds no {name}")
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise ValueError(f"{path}: the {name} is another network ({reason})") from None
