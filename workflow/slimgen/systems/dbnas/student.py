"""dbnas.student: retrain a found architecture with the dynamic joint loss (Tang et al. 2023).

L = gamma (1 - beta) L_dis + beta L_ori
L_dis: every block on the teacher's inputs against everything that the teacher's block returns, and
the head on the teacher's features against its prediction. L_ori: the denoising loss of the student
alone, end to end. beta goes from 0 to 1 in the first half of the training, linearly or in one step.
All of the student's modules train. A term of weight 0 is not computed: without L_dis there is no
teacher pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.config.dbnas import StudentSettings
from slimgen.data.dataset import load_split
from slimgen.diffusion.losses import denoising_loss
from slimgen.diffusion.saved import load_network, save_model
from slimgen.diffusion.timesteps import sample_timesteps
from slimgen.distillation.block_loss import distillation_losses
from slimgen.distillation.joint_loss import beta_at, weights
from slimgen.distillation.taps import teacher_features
from slimgen.networks.kernel_supernet import extract
from slimgen.networks.searched_unet import SearchedUNet2DModel, unet_config
from slimgen.networks.unet import copy_weights
from slimgen.search.space import Arch
from slimgen.systems.dbnas.artefacts import (
    load_supernet,
    load_teacher,
    plain_config,
    read_arch,
    space_of,
)
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.optimizers import learning_rate, make_optimizer, optimizer_step
from slimgen.training.precision import resolve
from slimgen.training.processes import share
from slimgen.training.seeding import batch_indices, derive_seed


def new_student(
    settings: StudentSettings,
    job: Job,
    teacher: UNet2DModel,
    arch: Arch | None,
    supernet: Path | None,
) -> UNet2DModel:
    """Return the student to train: random weights, the supernet's path, or those of `init_from`.

    Without `arch` it is the teacher's own architecture. Raises StageError where parts do not fit.
    """
    torch.manual_seed(derive_seed(job.seed, 0, "init"))
    config = unet_config(teacher)
    try:
        if arch is None:
            student = UNet2DModel(**config)
        else:
            student = SearchedUNet2DModel(arch.kernels, arch.widths, **config)
        if settings.init == "supernet":
            assert supernet is not None
            net = load_supernet(supernet)
            if plain_config(net.unet) != plain_config(teacher):
                raise ValueError(
                    f"supernet {supernet} was trained for another U-Net than the teacher"
                )
            space = space_of(net)
            chosen = space.base if arch is None else arch
            space.check(chosen)
            copy_weights(student, extract(net, chosen))
        if settings.init_from is not None:
            copy_weights(student, load_network(Path(settings.init_from)))
    except ValueError as error:  # ModelError is one
        raise StageError(f"dbnas.student: {error}") from None
    return student


def student(
    settings: StudentSettings,
    job: Job,
    *,
    teacher: Path,
    data: Path,
    arch: Path | None = None,
    supernet: Path | None = None,
) -> None:
    """Retrain `arch` (the teacher's own architecture without it) on the train split of `data`.

    Writes config.json, weights (the average), process.json and scheduler_config.json into
    `job.out`. Raises StageError for bad input, Stopped on request.
    """
    if (arch is None) != (settings.search == "base"):
        raise StageError(
            f"dbnas.student: search = {settings.search!r} and --arch do not go together"
        )
    if settings.init == "supernet" and supernet is None:
        raise StageError("dbnas.student: init = 'supernet' needs --supernet")
    images = load_split(data, "train")
    compute = resolve(settings.runtime, job.device)
    teacher_network, process = load_teacher(teacher, images, compute.device)
    compute.place(teacher_network)
    found = None if arch is None else read_arch(arch)
    network = new_student(settings, job, teacher_network, found, supernet)
    compute.place(network).train()
    forward = compute.compiled(network)
    optimizer = make_optimizer(network.parameters(), settings.optimizer)
    ema = Ema(network, settings.ema.decay, settings.ema.warmup)
    scaler = compute.scaler()
    schedule = process.schedule

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        beta = beta_at(settings.beta, step, settings.steps, settings.beta_value)
        w_dis, w_ori = weights(settings.gamma, beta)
        indices = batch_indices(len(images), settings.batch_size, step, job.seed)
        x0 = images.batch(indices, compute.device, flip=rng if settings.flip else None)
        t = sample_timesteps(settings.timesteps, len(x0), schedule.num_train_timesteps, rng)
        eps = torch.randn(x0.shape, generator=rng, device=compute.device)
        x0, t, eps = share(x0, t, eps)
        loss = torch.zeros((), device=compute.device)
        metrics: dict[str, Any] = {"beta": beta}
        with compute.autocast():
            if w_dis > 0:
                x_t = schedule.add_noise(x0, eps, t)
                features = teacher_features(teacher_network, x_t, t)
                l_dis = torch.stack(
                    list(distillation_losses(network, features, x_t, t).values())
                ).sum()
                loss, metrics["l_dis"] = loss + w_dis * l_dis, l_dis
            if w_ori > 0:
                l_ori = denoising_loss(forward, schedule, process.prediction, x0, t, eps)
                loss, metrics["l_ori"] = loss + w_ori * l_ori, l_ori
        (loss if scaler is None else scaler.scale(loss)).backward()
        norm = optimizer_step(
            optimizer, settings.optimizer, step=step, steps=settings.steps, scaler=scaler
        )
        ema.update(network, step)
        if norm is not None and scaler is None:  # fp16 scaling overflows now and then on purpose
            metrics["grad_norm"] = norm
        rate = learning_rate(settings.optimizer, step, settings.steps)
        return {"loss": loss, "lr": rate} | metrics

    state: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "ema": ema}
    if scaler is not None:
        state["scaler"] = scaler
    train(job, settings, update=update, state=state)
    save_model(job.out, ema.module, process)
