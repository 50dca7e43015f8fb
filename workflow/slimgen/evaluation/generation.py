"""Images streamed from a sampler into features, with the rounding of an 8-bit PNG and no PNG.

A stopped measurement goes on where it was: image i depends on (seed, i) alone, and the features so
far are saved in the state folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from slimgen.data.dataset import to_uint8
from slimgen.data.files import atomic_path
from slimgen.evaluation.feature_network import FeatureNetwork
from slimgen.evaluation.latency import synchronize
from slimgen.training.job import PUBLISH_SECONDS, Job

Generate = Callable[[int, int], torch.Tensor]  # (start, count) -> floats around [-1, 1]
Compare = Callable[[int, torch.Tensor], torch.Tensor]  # (start, uint8 images) -> (n, m) values


@dataclass
class Generated:
    """Features (n, d), logits (n, k), the first images uint8 (m, c, h, w), seconds of sampling.

    `compared` (n, m) holds m values per image, none where nothing was compared.
    """

    features: torch.Tensor
    logits: torch.Tensor
    shown: torch.Tensor
    compared: torch.Tensor
    seconds: float


def stream(
    job: Job,
    generate: Generate,
    network: FeatureNetwork,
    *,
    num_images: int,
    batch_size: int,
    keep: int,
    partial: Path,
    progress: tuple[int, int] = (0, 1),
    compare: Compare | None = None,
) -> Generated:
    """Generate images 0 .. num_images - 1 batch by batch and take their features.

    Args:
        job: asked between batches whether to stop.
        generate: gives images start .. start + count - 1.
        network: sees them rounded to 8 bits.
        keep: how many of the first images to return.
        partial: file for what there is when the job must stop; read on the next start.
        progress: images measured before this call, and images of the whole job.
        compare: values of every image that are kept beside its features.

    Raises:
        Stopped: a signal came or the time budget is spent; `partial` is written.
    """
    parts = _load(partial)
    device, published = torch.device(job.device), 0.0
    begin, done_before = time.monotonic(), _count(parts)
    while (done := _count(parts)) < num_images:
        if job.stop_reason() is not None:
            _save(partial, parts)
            job.stop_if_asked()
        synchronize(device)
        started = time.perf_counter()
        images = to_uint8(generate(done, min(batch_size, num_images - done)))
        synchronize(device)
        seconds = time.perf_counter() - started
        features, logits = network(images)
        shown = images[: max(0, keep - done)].cpu()
        compared = torch.empty(len(images), 0) if compare is None else compare(done, images)
        parts.append(Generated(features, logits, shown, compared, seconds))
        if time.monotonic() - published > PUBLISH_SECONDS:
            published = time.monotonic()
            _publish(
                job, progress, _count(parts), (published - begin) / (_count(parts) - done_before)
            )
    return _join(parts)


def _publish(job: Job, progress: tuple[int, int], done: int, pace: float) -> None:
    before, total = progress
    job.progress(
        step=before + done,
        steps=total,
        images_per_second=round(1 / pace, 1),
        seconds_left=round(pace * (total - before - done), 1),
    )


def _count(parts: list[Generated]) -> int:
    return sum(len(part.features) for part in parts)


def _join(parts: list[Generated]) -> Generated:
    return Generated(
        torch.cat([part.features for part in parts]),
        torch.cat([part.logits for part in parts]),
        torch.cat([part.shown for part in parts]),
        torch.cat([part.compared for part in parts]),
        sum(part.seconds for part in parts),
    )


def _save(path: Path, parts: list[Generated]) -> None:
    if not parts:
        return
    whole = _join(parts)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=whole.features.numpy(),
            logits=whole.logits.numpy(),
            shown=whole.shown.numpy(),
            compared=whole.compared.numpy(),
            seconds=whole.seconds,
        )


def _load(path: Path) -> list[Generated]:
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as file:
        names = ("features", "logits", "shown", "compared")
        tensors = {name: torch.from_numpy(file[name]) for name in names}
        return [Generated(**tensors, seconds=float(file["seconds"]))]
