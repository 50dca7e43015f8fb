"""teacher.train: the diffusion model that others compress, trained here or taken from a folder.

Training follows Ho et al. 2020 (DDPM): L = E ||output(x_t, t) - target||^2 with the target of the
chosen prediction, x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps; the averaged (EMA) weights are
what is saved.
With `from`, a finished diffusers DDPM is checked against the data set and saved in its place.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from slimgen.config.shared import TeacherTrainSettings
from slimgen.data.dataset import Images, load_split
from slimgen.data.files import write_text
from slimgen.diffusion.denoiser import DiffusionProcess
from slimgen.diffusion.losses import denoising_loss
from slimgen.diffusion.saved import (
    ModelError,
    load_diffusion,
    load_network,
    save_model,
)
from slimgen.diffusion.schedule import make_schedule
from slimgen.diffusion.timesteps import sample_timesteps
from slimgen.networks.stored import WEIGHTS
from slimgen.networks.unet import copy_weights, image_shape, make_unet
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train as run_loop
from slimgen.training.optimizers import learning_rate, make_optimizer, optimizer_step
from slimgen.training.precision import resolve
from slimgen.training.processes import share
from slimgen.training.seeding import batch_indices, derive_seed

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = [
    *("config.json", WEIGHTS, "scheduler_config.json", "process.json"),
    *("unet/config.json", f"unet/{WEIGHTS}", "scheduler/scheduler_config.json"),
]


def find_folder(name: str) -> Path:
    """Return the local folder of a model: `name` itself, or its copy from the hub.

    Only configs and safetensors are fetched. Raises StageError where there is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    if HUB_ID.fullmatch(name) is None:
        raise StageError(f"teacher.from = {name!r}: no such folder, and not the form of a hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except Exception as error:  # offline, unknown, private: the hub client raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise StageError(
            f"teacher.from = {name!r}: no such folder, and it cannot be fetched from the hub "
            f"({type(error).__name__}: {reason})"
        ) from None


def take_finished(name: str, job: Job, images: Images) -> None:
    """Check a finished diffusers DDPM against the data set and save it as the teacher.

    Raises StageError where a file is missing or damaged, or the network does not fit the data.
    """
    folder = find_folder(name)
    try:
        network, process = load_diffusion(folder)
        shape = image_shape(network)
    except (ModelError, ValueError) as error:
        raise StageError(f"teacher.from = {name!r}: {error}") from None
    config: Any = network.config
    if shape != images.shape:
        raise StageError(
            f"teacher.from = {name!r}: made for images of (channels, height, width) {shape}; "
            f"those of the data set are {images.shape}"
        )
    if config.class_embed_type is not None or config.num_class_embeds is not None:
        raise StageError(f"teacher.from = {name!r}: it needs class labels; none are given here")
    broken = [key for key, p in network.named_parameters() if not bool(p.isfinite().all())]
    if broken:
        raise StageError(f"teacher.from = {name!r}: {broken[0]} holds values that are not finite")
    save_model(job.out, network, process)
    parameters = sum(p.numel() for p in network.parameters())
    line = {"step": 0, "event": "taken as it is", "from": name, "params": parameters}
    write_text(job.state / "log.jsonl", json.dumps(line) + "\n")


def new_network(settings: TeacherTrainSettings, job: Job, images: Images) -> Any:
    """Return the network to train: random weights that depend on the seed, or those of `init_from`.

    Raises StageError where the network does not fit the images or the given weights.
    """
    channels, height, width = images.shape
    if height != width:
        raise StageError(f"teacher.train: images are {height} x {width}; the U-Net needs squares")
    torch.manual_seed(derive_seed(job.seed, 0, "init"))
    try:
        network = make_unet(settings.network, channels=channels, size=height)
    except ValueError as error:
        raise StageError(f"teacher.train.{error}") from None
    if settings.init_from is not None:
        try:
            copy_weights(network, load_network(Path(settings.init_from)))
        except ValueError as error:  # ModelError is one
            raise StageError(f"teacher.train.init_from = {settings.init_from!r}: {error}") from None
    return network


def train(settings: TeacherTrainSettings, job: Job, *, data: Path) -> None:
    """Train the teacher on the train split of `data`, or take the finished one of `settings.from_`.

    Writes config.json, weights, process.json and scheduler_config.json into `job.out`.
    Raises StageError for bad input, Stopped on request.
    """
    images = load_split(data, "train")
    if settings.from_ is not None:
        take_finished(settings.from_, job, images)
        return
    compute = resolve(settings.runtime, job.device)
    network = compute.place(new_network(settings, job, images)).train()
    forward = compute.compiled(network)
    process = DiffusionProcess(make_schedule(settings.schedule), settings.prediction)
    optimizer = make_optimizer(network.parameters(), settings.optimizer)
    ema = Ema(network, settings.ema.decay, settings.ema.warmup)
    scaler = compute.scaler()
    T = process.schedule.num_train_timesteps

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        indices = batch_indices(len(images), settings.batch_size, step, job.seed)
        x0 = images.batch(indices, compute.device, flip=rng if settings.flip else None)
        t = sample_timesteps(settings.timesteps, len(x0), T, rng)  # (n,)
        eps = torch.randn(x0.shape, generator=rng, device=compute.device)
        x0, t, eps = share(x0, t, eps)
        with compute.autocast():
            loss = denoising_loss(forward, process.schedule, process.prediction, x0, t, eps)
        (loss if scaler is None else scaler.scale(loss)).backward()
        norm = optimizer_step(
            optimizer, settings.optimizer, step=step, steps=settings.steps, scaler=scaler
        )
        ema.update(network, step)
        metrics = {"loss": loss, "lr": learning_rate(settings.optimizer, step, settings.steps)}
        # fp16 scaling overflows now and then on purpose; such a norm is no failure
        return metrics if norm is None or scaler is not None else metrics | {"grad_norm": norm}

    state: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "ema": ema}
    if scaler is not None:
        state["scaler"] = scaler
    run_loop(job, settings, update=update, state=state)
    save_model(job.out, ema.module, process)
