"""What a translating generator learns from: batches, and the terms of its loss.

L = lambda_gan L_GAN + lambda_recon |G(x) - r|_1 + lambda_feature L_FM + lambda_vgg L_VGG

r is the target y of a pair, or a teacher's output where there are no pairs. L_FM is there in the
semantic task, L_VGG where weights are given.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.config.translation import TranslationSettings
from slimgen.data.pairs import Pairs, load_pairs
from slimgen.networks.vgg19 import Vgg19, load_vgg19
from slimgen.systems.gan_compression.adversary import Adversary
from slimgen.training.job import StageError
from slimgen.training.precision import Compute
from slimgen.training.seeding import batch_indices, make_rng

PARTNERS = {"paired": "aligned pairs", "semantic": "aligned pairs of label maps and images"}


def load_task(settings: TranslationSettings, data: Path, split: str = "train") -> Pairs:
    """Read a split of pairs.

    Raises StageError where they are not what the task needs: aligned for paired and semantic, label
    maps for semantic and images for unpaired.
    """
    try:
        pairs = load_pairs(data, split)
    except ValueError as error:
        raise StageError(str(error)) from None
    task, labels = settings.task, pairs.input_kind == "labels"
    if (task != "unpaired" and not pairs.aligned) or (task == "semantic" and not labels):
        raise StageError(f"{data}: task {task!r} needs {PARTNERS[task]}")
    if task == "unpaired" and labels:
        raise StageError(f"{data}: task 'unpaired' needs images on both sides, not label maps")
    if task == "semantic" and settings.discriminator.kind == "patch" and settings.lambda_feature:
        raise StageError("lambda_feature: a patch discriminator has no features to match; set it 0")
    return pairs


def draw_batch(
    settings: TranslationSettings,
    pairs: Pairs,
    *,
    step: int,
    seed: int,
    device: torch.device | str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets of one step; mirrored together where they belong together."""
    together = settings.task != "unpaired"
    found = []
    for side, draw, count in (
        ("inputs", pairs.batch_inputs, len(pairs.inputs)),
        ("targets", pairs.batch_targets, len(pairs.targets)),
    ):
        stream = "pairs" if together else side
        indices = batch_indices(count, settings.batch_size, step, seed, stream)
        flip = make_rng(seed, step, f"flip/{stream}", device) if settings.flip else None
        found.append(draw(indices, device, flip))
    return found[0], found[1]


def load_perceptual(settings: TranslationSettings, compute: Compute) -> Vgg19 | None:
    """Return VGG19 where its weights are given; raises StageError where they cannot be read."""
    if settings.vgg_path is None or settings.lambda_vgg == 0:
        return None
    try:
        network = load_vgg19(Path(settings.vgg_path))
    except ValueError as error:
        raise StageError(f"vgg_path: {error}") from None
    return network.to(compute.device)


def translation_terms(
    settings: TranslationSettings,
    adversary: Adversary,
    perceptual: nn.Module | None,
    *,
    inputs: torch.Tensor,
    fakes: torch.Tensor,
    reals: torch.Tensor,
    wanted: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Return the weighted terms of a generator's loss, 0-d each.

    Args:
        settings: the weights.
        adversary: judges `fakes` beside `reals`.
        perceptual: VGG19, or None.
        inputs: x, (n, c, h, w).
        fakes: G(x), in [-1, 1].
        reals: real targets; those of x where pairs are aligned.
        wanted: what G(x) should be: y, or a teacher's output.
    """
    terms = adversary.generator_terms(fakes, reals=reals, inputs=inputs)
    if settings.lambda_recon:
        terms["recon"] = settings.lambda_recon * F.l1_loss(fakes, wanted)
    if perceptual is not None:
        terms["vgg"] = settings.lambda_vgg * perceptual(fakes, wanted)
    return terms
