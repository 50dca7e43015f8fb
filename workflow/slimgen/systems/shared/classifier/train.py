"""Stage classifier.train: the feature network of data sets on which Inception is not used.

The one that reports is trained on the train split with light augmentation; no search and no
selection ever loads it. The one that rewards a search (`images: reward`) is trained on the search
split and half of train, so that the two agree on no more than they must. The validation split
watches; the report split is not opened.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from slimgen.config.shared import ClassifierTrainSettings
from slimgen.data.dataset import Images, load_split
from slimgen.networks.classifier import (
    Classifier,
    ClassifierShape,
    load_classifier,
    save_classifier,
)
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train as run_loop
from slimgen.training.optimizers import make_optimizer, optimizer_step
from slimgen.training.precision import resolve
from slimgen.training.seeding import batch_indices, derive_seed


def augment(
    x: torch.Tensor, rng: torch.Generator, *, shift: float, rotate: float, scale: float
) -> torch.Tensor:
    """Return images (n, c, h, w), each shifted, rotated and scaled at random about its centre.

    `shift` is the largest shift as a share of the width, `rotate` the largest angle in degrees,
    `scale` the largest relative change of size. Beyond the border the border's value goes on.
    """

    def uniform(largest: float) -> torch.Tensor:
        return (2 * torch.rand(len(x), generator=rng, device=x.device) - 1) * largest

    angle, size = uniform(math.radians(rotate)), 1 + uniform(scale)
    # affine_grid spans [-1, 1]: a shift of the whole width is 2.
    row1 = torch.stack([angle.cos() / size, -angle.sin() / size, uniform(2 * shift)], dim=1)
    row2 = torch.stack([angle.sin() / size, angle.cos() / size, uniform(2 * shift)], dim=1)
    grid = F.affine_grid(torch.stack([row1, row2], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def accuracy(network: Classifier, split: Images, device: str, batch_size: int = 1000) -> float:
    """Return the share of a split's images that the network names rightly."""
    right = 0
    for indices in torch.arange(len(split)).split(batch_size):
        logits = network(split.batch(indices, device))
        right += int((logits.argmax(1).cpu() == split.labels[indices]).sum())
    return right / len(split)


def half(labels: torch.Tensor) -> torch.Tensor:
    """Return the indices of every second image of each class (the first, the third, ...)."""
    members = [(labels == label).nonzero().squeeze(1) for label in labels.unique()]
    return torch.cat([indices[::2] for indices in members]).sort().values


def training_images(settings: ClassifierTrainSettings, data: Path) -> Images:
    """Return the train split, or for `reward` the search split and half of train."""
    train = load_split(data, "train")
    if settings.images == "train":
        return train
    search, kept = load_split(data, "search"), half(train.labels)
    return Images(
        torch.cat([search.images, train.images[kept]]),
        torch.cat([search.labels, train.labels[kept]]),
        num_classes=train.num_classes,
    )


def make_classifier(settings: ClassifierTrainSettings, images: Images, seed: int) -> Classifier:
    """Return the network to start from: random weights, or those of `init_from`.

    Raises StageError for images without labels and for an `init_from` of another shape.
    """
    if images.num_classes < 2 or int(images.labels.min()) < 0:
        raise StageError(
            "classifier.train: the data set has no labels; use a folder per class, or set "
            "evaluation.reference.features: inception"
        )
    shape = ClassifierShape(
        in_channels=images.shape[0],
        num_classes=images.num_classes,
        channels=tuple(settings.channels),
        features=settings.features,
        dropout=settings.dropout,
    )
    torch.manual_seed(derive_seed(seed, 0, "classifier"))
    try:
        network = Classifier(shape)
        if settings.init_from is not None:
            network.load_state_dict(load_classifier(Path(settings.init_from)).state_dict())
    except (ValueError, RuntimeError) as error:
        raise StageError(f"classifier.train: {str(error).splitlines()[0]}") from None
    return network


def train(settings: ClassifierTrainSettings, job: Job, *, data: Path) -> None:
    """Train on the settings' images of `data`; write config.json and model.safetensors (average).

    Raises StageError for bad input, Stopped on request.
    """
    images, validation = training_images(settings, data), load_split(data, "validation")
    compute = resolve(settings.runtime, job.device)
    network = make_classifier(settings, images, job.seed)
    compute.place(network)
    forward = compute.compiled(network)
    ema = Ema(network, settings.ema.decay, settings.ema.warmup)
    averaged = ema.module
    assert isinstance(averaged, Classifier)
    optimizer = make_optimizer(network.parameters(), settings.optimizer)
    scaler = compute.scaler()

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        indices = batch_indices(len(images), settings.batch_size, step, job.seed)
        x, labels = images.batch(indices, job.device), images.labels[indices].to(job.device)
        x = augment(x, rng, shift=settings.shift, rotate=settings.rotate, scale=settings.scale)
        with compute.autocast():
            loss = F.cross_entropy(forward(x), labels)
        (loss if scaler is None else scaler.scale(loss)).backward()
        optimizer_step(
            optimizer, settings.optimizer, step=step, steps=settings.steps, scaler=scaler
        )
        ema.update(network, step)
        metrics: dict[str, Any] = {"loss": loss}
        if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
            metrics["validation_accuracy"] = accuracy(averaged, validation, job.device)
        return metrics

    state: dict[str, Any] = {"network": network, "optimizer": optimizer, "ema": ema}
    if scaler is not None:
        state["scaler"] = scaler
    run_loop(job, settings, update=update, state=state)
    save_classifier(job.out, averaged)
