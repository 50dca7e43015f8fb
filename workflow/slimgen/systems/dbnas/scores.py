"""Losses of a block's candidates on cached teacher activations of the search split.

Every candidate of a block sees the same images, noise and timesteps, and so does every search of
one seed; scores are in float32 whatever the training's precision was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.config.dbnas import SearchSettings
from slimgen.data.dataset import Images
from slimgen.diffusion.schedule import Schedule
from slimgen.diffusion.timesteps import sample_timesteps
from slimgen.distillation.block_loss import block_loss
from slimgen.distillation.taps import teacher_features
from slimgen.networks.kernel_supernet import BlockState, KernelSupernet, Program
from slimgen.networks.unet_blocks import BlockInputs, Outputs
from slimgen.search.exhaustive import score_all
from slimgen.search.space import Choices
from slimgen.systems.dbnas.artefacts import space_of
from slimgen.training.seeding import make_rng


@dataclass(frozen=True)
class NoisedImages:
    """The search batch: x_t (n, c, h, w) at timesteps t (n,)."""

    x_t: torch.Tensor
    t: torch.Tensor

    def chunks(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield at most `size` images at a time."""
        yield from zip(self.x_t.split(size), self.t.split(size), strict=True)


def draw_images(
    settings: SearchSettings, images: Images, schedule: Schedule, *, seed: int, device: str
) -> NoisedImages:
    """Return `num_images` images of the search split, each with `repeats` noise levels."""
    rng = make_rng(seed, 0, "search", device)
    chosen = torch.randperm(len(images), generator=make_rng(seed, 0, "search/images"))
    indices = chosen[: settings.num_images].repeat(settings.repeats)
    x0 = images.batch(indices, device)
    t = sample_timesteps("antithetic", len(x0), schedule.num_train_timesteps, rng)
    eps = torch.randn(x0.shape, generator=rng, device=rng.device)
    return NoisedImages(schedule.add_noise(x0, eps, t), t)


@dataclass(frozen=True)
class Cached:
    """Teacher activations of one block for some of the images."""

    inputs: BlockInputs
    targets: Outputs
    share: float  # of all images

    def loss(self, state: BlockState) -> float:
        """Return the block loss of a finished computation."""
        return float(block_loss(state.outputs, self.targets))


@dataclass
class BlockScorer:
    """Scores candidates of one block; `losses` holds those scored so far."""

    program: Program
    options: tuple[Choices, ...]
    cached: list[Cached]
    losses: dict[Choices, float] = field(default_factory=dict)

    @torch.inference_mode()
    def score_every(self) -> None:
        """Score all candidates by a prefix tree per batch of images."""
        for batch in self.cached:
            scores = score_all(
                self.options,
                start=self.program.start(batch.inputs),
                advance=self.program.advance,
                score=batch.loss,
            )
            for choices, loss in scores.items():
                self.losses[choices] = self.losses.get(choices, 0.0) + batch.share * loss

    @torch.inference_mode()
    def loss(self, choices: Choices) -> float:
        """Return one candidate's loss, computed once."""
        if choices not in self.losses:
            self.losses[choices] = sum(
                batch.share
                * float(block_loss(self.program.run(batch.inputs, choices), batch.targets))
                for batch in self.cached
            )
        return self.losses[choices]


@torch.inference_mode()
def make_scorer(
    supernet: KernelSupernet, teacher: UNet2DModel, name: str, noised: NoisedImages, size: int
) -> BlockScorer:
    """Return the scorer of block `name`, with the teacher's activations of that block alone."""
    cached = []
    for x_t, t in noised.chunks(size):
        features = teacher_features(teacher, x_t, t)
        inputs = supernet.inputs(name, features.inputs[name], t)
        cached.append(Cached(inputs, features.outputs[name], len(t) / len(noised.t)))
    return BlockScorer(supernet.program(name), space_of(supernet).options(name), cached)
