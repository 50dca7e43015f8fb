"""denoising_student.student: one network evaluation that reproduces the teacher's whole DDIM chain.

Luhman and Luhman 2021 (arXiv 2101.02388). With both models as Gaussians around their outputs, the
divergence of student from teacher is, up to a constant,
    E_{x_T} 1/2 ||F_student(x_T) - F_teacher(x_T)||^2,
which the released code trains with L2, or L1 on CIFAR-10. F_student starts from the teacher's
weights (see `OneStepProcess` for its form) without dropout. The averaged (EMA) weights are tested
on held-out pairs now and then, and those with the lowest loss are what is saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.config.denoising_student import StudentSettings
from slimgen.data.dataset import to_uint8
from slimgen.diffusion.denoiser import OneStepProcess
from slimgen.diffusion.interpolation import slerp
from slimgen.diffusion.losses import pseudo_huber
from slimgen.diffusion.saved import load_diffusion, load_network, save_model
from slimgen.evaluation.grid import save_grid
from slimgen.networks.stored import ModelError
from slimgen.networks.unet import copy_weights, image_shape
from slimgen.systems.denoising_student.shards import SHARDS, PairFiles
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train as run_loop
from slimgen.training.optimizers import learning_rate, make_optimizer, optimizer_step
from slimgen.training.precision import resolve
from slimgen.training.processes import share
from slimgen.training.seeding import batch_indices, make_rng

LINES, COLUMNS = 6, 11  # interpolation.png: pairs of noises, images from one to the other


def pair_loss(settings: StudentSettings, output: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """Return the loss of a batch (n, c, h, w), the mean over images.

    l1 and l2 of an image are sums over its values.
    """
    output = output.float()
    if settings.loss == "pseudo_huber":
        return pseudo_huber(output, x0, settings.huber_c).mean()
    d = output - x0
    return (d.abs() if settings.loss == "l1" else d.square()).flatten(1).sum(1).mean()


class Best:
    """The averaged weights of the lowest held-out loss so far, part of the resumable state."""

    def __init__(self) -> None:
        self.loss: float | None = None
        self.step = 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, loss: float, step: int, network: nn.Module) -> None:
        """Keep a copy of the network's weights if `loss` is the lowest so far (NaN never is)."""
        if loss < (float("inf") if self.loss is None else self.loss):
            self.loss, self.step = loss, step
            self.weights = {name: w.detach().clone() for name, w in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return loss, step and weights."""
        return {"loss": self.loss, "step": self.step, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore loss, step and weights."""
        self.loss, self.step, self.weights = state["loss"], state["step"], state["weights"]


def without_dropout(network: Any) -> Any:
    """Return a copy of a network whose config and modules have dropout 0."""
    copy = type(network).from_config(dict(network.config) | {"dropout": 0.0})
    copy_weights(copy, network)
    return copy


@torch.no_grad()
def interpolate(
    process: OneStepProcess,
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    seed: int,
    device: torch.device | str,
) -> torch.Tensor:
    """Return images between LINES pairs of noises, uint8 (LINES * COLUMNS, c, h, w), by lines."""
    rng = make_rng(seed, 0, "interpolation", device)
    fractions = torch.linspace(0, 1, COLUMNS)
    ends = torch.randn(LINES, 2, *shape, generator=rng, device=device)
    z = torch.cat([slerp(a, b, fractions) for a, b in ends])
    return to_uint8(process.generate(network, z))


def student(settings: StudentSettings, job: Job, *, pairs: Path, teacher: Path) -> None:
    """Distil `teacher` into one evaluation on the noise-image pairs in `pairs`.

    Writes config.json, weights, process.json, scheduler_config.json and interpolation.png (a grid
    of the images between pairs of noises) into `job.out`.
    Raises StageError for bad input, Stopped on request.
    """
    try:
        loaded, diffusion = load_diffusion(teacher)
        network = without_dropout(loaded)
        if settings.init_from is not None:
            copy_weights(network, load_network(Path(settings.init_from)))
        train_pairs = PairFiles(sorted(pairs.glob(SHARDS)))
        held_out = PairFiles([pairs / "held_out.npz"])
        shape = image_shape(network)
    except (ModelError, ValueError) as error:
        raise StageError(f"{job.stage}: {error}") from None
    if not shape == train_pairs.shape == held_out.shape:
        raise StageError(
            f"{job.stage}: {pairs} holds images of shape {train_pairs.shape} "
            f"(held out: {held_out.shape}), the teacher makes {shape}"
        )
    compute = resolve(settings.runtime, job.device)
    network = compute.place(network).train()
    forward = compute.compiled(network)
    process = OneStepProcess(diffusion.schedule, diffusion.prediction)
    optimizer = make_optimizer(network.parameters(), settings.optimizer)
    ema = Ema(network, settings.ema.decay, settings.ema.warmup)
    scaler, best = compute.scaler(), Best()

    @torch.no_grad()
    def held_out_loss() -> float:
        total = 0.0
        for indices in torch.arange(len(held_out)).split(settings.batch_size):
            z, x0 = held_out.batch(indices, compute.device)
            with compute.autocast():
                output = process.generate(ema.module, z)
            total += float(pair_loss(settings, output, x0)) * len(z)
        return total / len(held_out)

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        indices = batch_indices(len(train_pairs), settings.batch_size, step, job.seed)
        z, x0 = share(*train_pairs.batch(indices, compute.device))
        with compute.autocast():
            output = process.generate(forward, z)
        loss = pair_loss(settings, output, x0)
        (loss if scaler is None else scaler.scale(loss)).backward()
        optimizer_step(
            optimizer, settings.optimizer, step=step, steps=settings.steps, scaler=scaler
        )
        ema.update(network, step)
        metrics = {"loss": loss, "lr": learning_rate(settings.optimizer, step, settings.steps)}
        done = step + 1
        if done % settings.test_every and done != settings.steps:
            return metrics
        tested = held_out_loss()
        best.offer(tested, done, ema.module)
        return metrics | {"held_out_loss": tested}

    state: dict[str, Stateful] = {
        "network": network,
        "optimizer": optimizer,
        "ema": ema,
        "best": best,
    }
    if scaler is not None:
        state["scaler"] = scaler
    run_loop(job, settings, update=update, state=state)
    ema.module.load_state_dict(best.weights)
    save_model(job.out, ema.module, process)
    images = interpolate(process, ema.module.eval(), shape, seed=job.seed, device=compute.device)
    save_grid(job.out / "interpolation.png", images, COLUMNS)
