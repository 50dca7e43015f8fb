"""act.student: adversarial consistency training of a one-step model, from scratch.

Kong et al. 2024 (ACT, arXiv 2311.14097) on consistency training (Song et al. 2023). One step:
    L_f = mean (1 - lambda_N(n)) L_CT + lambda_N(n) L_G, on batch_size images      (theta)
    L_D on half as many generated and half as many real images                    (psi)
    target <- mu(k) target + (1 - mu(k)) theta, or the target is theta itself
With lambda = 0 there is no discriminator: this is consistency training, and its weights are bit for
bit those that a discriminator of weight 0 would leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.config.act import StudentSettings
from slimgen.data.dataset import Images, load_split
from slimgen.data.files import read_json, write_json
from slimgen.diffusion.denoiser import ConsistencyProcess
from slimgen.diffusion.saved import load_network, save_model
from slimgen.networks.searched_unet import SearchedUNet2DModel
from slimgen.networks.time_discriminator import make_discriminator
from slimgen.networks.unet import copy_weights, make_unet, unet_arguments
from slimgen.systems.act.adversary import Adversary
from slimgen.systems.act.cost import cost_record, equal_steps, training_macs
from slimgen.systems.act.objective import (
    Distance,
    add_noise,
    consistency_target,
    make_distance,
    make_process,
)
from slimgen.systems.act.schedule import adversarial_weight, noise_grid, num_scales, target_decay
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import Update
from slimgen.training.loop import train as run_loop
from slimgen.training.optimizers import make_optimizer, optimizer_step
from slimgen.training.precision import Compute, resolve
from slimgen.training.seeding import batch_indices, derive_seed, make_rng


class Generator:
    """The online network, its optimizer, and its averages: the target and the one for sampling."""

    def __init__(self, settings: StudentSettings, network: nn.Module, compute: Compute) -> None:
        self.network = compute.place(network).train()
        self.forward = compute.compiled(self.network)
        self.optimizer = make_optimizer(self.network.parameters(), settings.optimizer)
        self.scaler = compute.scaler()
        self.target = Ema(self.network, settings.mu0) if settings.target == "ema" else None
        self.ema: Ema | None = None
        if settings.sampling_weights == "ema":
            self.ema = Ema(self.network, settings.ema.decay, settings.ema.warmup)
        if self.target is not None:
            self.target.module.train()  # with dropout, both evaluations share one mask

    def state(self) -> dict[str, Stateful]:
        """Return everything that changes."""
        found: dict[str, Stateful | None] = {
            "network": self.network,
            "optimizer": self.optimizer,
            "target": self.target,
            "ema": self.ema,
            "scaler": self.scaler,
        }
        return {name: item for name, item in found.items() if item is not None}

    @property
    def target_network(self) -> nn.Module:
        """Return the network whose estimate is the consistency target."""
        return self.forward if self.target is None else self.target.module

    @property
    def sampling_network(self) -> nn.Module:
        """Return the network that is saved."""
        average = self.ema if self.ema is not None else self.target
        assert average is not None  # the settings refuse sampling from a target that is no average
        return average.module.eval()


def make_update(
    settings: StudentSettings,
    *,
    seed: int,
    steps: int,
    compute: Compute,
    images: Images,
    process: ConsistencyProcess,
    distance: Distance,
    generator: Generator,
    adversary: Adversary | None,
) -> Update:
    """Return the update of one step; without `adversary` it is plain consistency training."""
    batch, half = settings.batch_size, settings.batch_size // 2

    def update(step: int, rng: torch.Generator) -> dict[str, Any]:
        scales = num_scales(settings, step, steps)
        grid = noise_grid(settings, scales).to(compute.device)
        indices = batch_indices(len(images), 2 * batch, step, seed, drop_last=True)
        flip = make_rng(seed, step, "flip", compute.device) if settings.flip else None
        x = images.batch(indices, compute.device, flip)
        x, for_fakes, reals = x.split([batch, half, half])

        # The generator's step, theta
        noised, mask = add_noise(x, grid, rng), derive_seed(seed, step, "dropout")
        with compute.autocast():
            torch.manual_seed(mask)
            target = consistency_target(process, generator.target_network, noised)
            torch.manual_seed(mask)
            output = process.denoise(generator.forward, noised.at(), noised.sigma())
        loss_ct = distance(output, target)  # (n,)
        metrics: dict[str, Any] = {"loss_ct": loss_ct.mean(), "num_scales": scales}
        loss = loss_ct
        if adversary is not None:
            weight = adversarial_weight(settings.weight, noised.index, scales)
            loss_adv = adversary.generator_loss(output, noised.sigma(), step)
            loss = torch.lerp(loss_ct, loss_adv, weight)
            metrics |= {"loss_adv": loss_adv.mean(), "lambda": weight.mean()}
        loss, scaler = loss.mean(), generator.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        optimizer_step(
            generator.optimizer, settings.optimizer, step=step, steps=steps, scaler=scaler
        )

        # The discriminator's step, psi, on images that the generator's step did not see
        if adversary is not None:
            fake_rng = make_rng(seed, step, "fakes", compute.device)
            noised = add_noise(for_fakes, grid, fake_rng)
            with torch.no_grad(), compute.autocast():
                fakes = process.denoise(generator.forward, noised.at(), noised.sigma())
            metrics |= adversary.train(step, noised, fakes=fakes, reals=reals, steps=steps)

        # Averages
        if generator.target is not None:
            decay = target_decay(settings, scales)
            generator.target.update(generator.network, step, decay)
            metrics["mu"] = decay
        if generator.ema is not None:
            generator.ema.update(generator.network, step)
        return metrics | {"loss": loss}

    return update


def new_network(settings: StudentSettings, images: Images, *, arch: Path | None, seed: int) -> Any:
    """Return the generator: random weights, the architecture of `arch` where it is given.

    Raises ValueError where network, images, architecture and `init_from` do not fit.
    """
    channels, height, width = images.shape
    if height != width:
        raise ValueError(f"images are {height} x {width}; the U-Net needs squares")
    torch.manual_seed(derive_seed(seed, 0, "init"))
    network: Any = make_unet(settings.network, channels=channels, size=height)
    if arch is not None:
        found = read_json(arch)
        if not isinstance(found, dict) or not isinstance(found.get("kernels"), dict):
            raise ValueError(f"{arch}: no `kernels`, block -> list of kernel sizes")
        torch.manual_seed(derive_seed(seed, 0, "init"))
        arguments = unet_arguments(settings.network, channels=channels, size=height)
        network = SearchedUNet2DModel(found["kernels"], found.get("widths"), **arguments)
    if settings.init_from is not None:
        copy_weights(network, load_network(Path(settings.init_from)))
    return network


def new_adversary(
    settings: StudentSettings,
    images: Images,
    *,
    process: ConsistencyProcess,
    compute: Compute,
    seed: int,
) -> Adversary | None:
    """Return the adversary, or None where its weight is 0 throughout."""
    if settings.weight.w == 0:
        return None
    channels, size, _ = images.shape
    if settings.augment.enabled and channels not in (1, 3):
        raise ValueError(f"augment: images of {channels} channels; it is defined for 1 and 3")
    torch.manual_seed(derive_seed(seed, 0, "init/discriminator"))
    discriminator = make_discriminator(
        settings.discriminator, network=settings.network, channels=channels, size=size
    )
    return Adversary(settings, discriminator, process=process, compute=compute, seed=seed)


def check_inputs(
    settings: StudentSettings, images: Images, *, arch: Path | None, equal_to: Path | None
) -> None:
    """Raise ValueError where inputs and settings do not belong together."""
    for name, setting, key, path in (
        ("arch", settings.backbone, "backbone", arch),
        ("equal_to", settings.equal_macs_with, "equal_macs_with", equal_to),
    ):
        if (setting is None) != (path is None):
            raise ValueError(f"{key} = {setting!r} and --{name} {path}: both are given, or neither")
    if len(images) < 2 * settings.batch_size:
        raise ValueError(
            f"batch_size = {settings.batch_size}: a step takes {2 * settings.batch_size} different "
            f"images, the train split has {len(images)}"
        )


def student(
    settings: StudentSettings,
    job: Job,
    *,
    data: Path,
    arch: Path | None = None,
    equal_to: Path | None = None,
) -> None:
    """Train a consistency model on the train split of `data`, with a discriminator where w > 0.

    `arch` is the arch.json of a search, `equal_to` the cost.json of the run whose training
    multiply-adds set the number of steps. Writes config.json, weights, process.json and cost.json
    into `job.out`. Raises StageError for bad input, and where augmentation is required and p never
    left 0; Stopped on request.
    """
    images = load_split(data, "train")
    compute = resolve(settings.runtime, job.device)
    try:
        check_inputs(settings, images, arch=arch, equal_to=equal_to)
        distance = make_distance(settings, compute.device)
        process = make_process(settings, images)
        network = new_network(settings, images, arch=arch, seed=job.seed)
        generator = Generator(settings, network, compute)
        adversary = new_adversary(settings, images, process=process, compute=compute, seed=job.seed)
        macs = training_macs(
            settings,
            shape=images.shape,
            generator=generator.network,
            discriminator=None if adversary is None else adversary.discriminator,
            distance=distance,
        )
        steps = settings.steps if equal_to is None else equal_steps(equal_to, macs)
    except ValueError as error:  # ModelError is a ValueError
        raise StageError(f"act.student: {error}") from None
    update = make_update(
        settings,
        seed=job.seed,
        steps=steps,
        compute=compute,
        images=images,
        process=process,
        distance=distance,
        generator=generator,
        adversary=adversary,
    )
    state = generator.state() | ({} if adversary is None else adversary.state())
    run_loop(job, settings, update=update, state=state, steps=steps)
    required = settings.require_augmentation and settings.augment.enabled
    if required and adversary is not None and adversary.control.largest_p == 0:
        raise job.fail(
            f"act.student: augmentation is on, but its p never left 0 (the R1 average ended at "
            f"{adversary.control.r1_average:.4g}, augment.tau is {settings.augment.tau:g}): lower "
            "augment.tau, or set augment.enabled: false"
        )
    save_model(job.out, generator.sampling_network, process)
    write_json(job.out / "cost.json", cost_record(macs, steps))
