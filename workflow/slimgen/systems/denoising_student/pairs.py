"""denoising_student.pairs: noise x_T and what the DDIM teacher (eta = 0) makes of it.

Luhman and Luhman 2021 (arXiv 2101.02388). x_T ~ N(0, I) is stored as float16, and the rounded
noise is what the teacher sees; x_0 is stored as uint8, rounded. `target_noise` s > 0 draws the
target from N(F_teacher(x_T), s^2 I), the formal Gaussian of the paper, before rounding; its code
has s = 0.

A pair depends on (seed, index) alone. Finished files wait in the state folder, so that a stopped
run goes on behind them and ends with the same bytes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimgen.config.denoising_student import PairsSettings
from slimgen.data.dataset import to_uint8
from slimgen.data.files import atomic_path
from slimgen.diffusion.sampling import images_from_noise, nfe_of
from slimgen.diffusion.saved import SavedModel, load_diffusion
from slimgen.networks.unet import image_shape
from slimgen.systems.denoising_student.shards import SHARDS, write_pairs
from slimgen.training.job import PUBLISH_SECONDS, Job, StageError, format_seconds
from slimgen.training.precision import resolve
from slimgen.training.seeding import make_rng

HELD_OUT = "held_out.npz"


def draw(
    seed: int, part: str, indices: range, shape: tuple[int, int, int], target_noise: float
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Return noise z rounded to float16 (n, c, h, w), and the noise on the targets (or 0).

    `part` separates training from held-out pairs.
    """
    z, around = [], []
    for index in indices:
        rng = make_rng(seed, index, f"pairs/{part}")
        z.append(torch.randn(shape, generator=rng))
        if target_noise > 0:
            around.append(target_noise * torch.randn(shape, generator=rng))
    return torch.stack(z).half(), torch.stack(around) if around else 0.0


class Progress:
    """Publishes how many of all pairs are done; the rate counts this start only."""

    def __init__(self, job: Job, total: int) -> None:
        self.job, self.total, self.done, self.made = job, total, 0, 0
        self.since, self.published = time.monotonic(), 0.0

    def skip(self, count: int) -> None:
        """Count pairs that an earlier start made."""
        self.done += count

    def add(self, count: int) -> None:
        """Count new pairs and publish, at most every two seconds, and at the end."""
        self.done, self.made = self.done + count, self.made + count
        now = time.monotonic()
        if now - self.published < PUBLISH_SECONDS and self.done < self.total:
            return
        self.published = now
        rate = self.made / max(1e-9, now - self.since)
        left = (self.total - self.done) / rate
        self.job.progress(
            step=self.done,
            steps=self.total,
            images_per_second=round(rate, 1),
            seconds_left=round(left, 1),
        )
        print(
            f"{self.job.stage}: pair {self.done}/{self.total} "
            f"{rate:.0f} pairs/s, {format_seconds(left)} left",
            file=sys.stderr,
            end="\r" if sys.stderr.isatty() and self.done < self.total else "\n",
            flush=True,
        )


def publish(source: Path, target: Path) -> None:
    """Put a finished file at `target`, whole or not at all; `source` stays till the run is over."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)  # no second copy of many gigabytes
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


def pairs(settings: PairsSettings, job: Job, *, model: Path) -> None:
    """Write the training pairs in shards, and held-out pairs, of the diffusion model in `model`.

    Raises StageError for bad input, Stopped on request (at most one file's work is lost).
    """
    compute = resolve(settings.runtime, job.device)
    try:
        network, process = load_diffusion(model)
        shape = image_shape(network)
        nfe_of(settings.sampler, settings.sampling, process.schedule)
    except ValueError as error:
        raise StageError(f"{job.stage}: {error}") from None
    forward: Any = compute.compiled(compute.place(network))
    teacher = SavedModel(forward, process)
    files, first = {}, 0
    for name, count in settings.shards().items():
        files[name] = ("train", range(first, first + count))
        first += count
    files[HELD_OUT] = ("held_out", range(settings.held_out))
    progress = Progress(job, settings.num_pairs + settings.held_out)
    for name, (part, indices) in files.items():
        if (job.state / name).exists():
            progress.skip(len(indices))
            continue
        z_all = np.empty((len(indices), *shape), dtype=np.float16)
        x0_all = np.empty((len(indices), *shape), dtype=np.uint8)
        for at in range(0, len(indices), settings.batch_size):
            job.stop_if_asked()
            batch = indices[at : at + settings.batch_size]
            z, around = draw(job.seed, part, batch, shape, settings.target_noise)
            x0 = images_from_noise(
                teacher,
                settings.sampler,
                settings.sampling,
                z.to(compute.device).float(),
                noise=iter(()),  # eta = 0 adds none
                autocast=compute.autocast,
            )
            here = slice(at, at + len(batch))
            z_all[here], x0_all[here] = z.numpy(), to_uint8(x0.cpu() + around).numpy()
            progress.add(len(batch))
        write_pairs(job.state / name, z=z_all, x0=x0_all)
    for name in files:
        publish(job.state / name, job.out / name)
    for path in job.out.glob(SHARDS):  # of earlier settings: the student reads them all
        if path.name not in files:
            path.unlink()
