"""dbnas.supernet: train every kernel size of every block to do what the teacher's block does.

L_train = || Block_alpha(X_i) - Y_i ||^2

with alpha uniform over the block's paths at every step (Tang et al. 2023; single path as in Guo et
al. 2020): kernel sizes, and inner widths where there are several. X_i, incoming skips and time
embedding are the teacher's, so blocks have nothing to do with each other: each has its own
gradients, clipping, optimizer and random stream. All of them in one teacher pass ("together") or
one after another ("sequential") therefore end with equal weights, bit for bit; together saves a
factor of 2 to 4.

conv_in, time embedding and output head are the teacher's and stay frozen. Preset `code` follows the
derived code instead: a time embedding of its own, trained along with the block at hand and handed
on to the next; each block keeps the one that it ended with.

Nothing is compiled here: a block of 6 convs has 729 paths or more, and each would be compiled anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.config.dbnas import SupernetSettings
from slimgen.data.dataset import load_split
from slimgen.diffusion.timesteps import sample_timesteps
from slimgen.distillation.block_loss import block_loss
from slimgen.distillation.taps import teacher_features
from slimgen.networks.block_choices import join_choices
from slimgen.networks.kernel_supernet import KernelSupernet, key
from slimgen.networks.searched_unet import unet_config
from slimgen.networks.unet import copy_weights
from slimgen.systems.dbnas.artefacts import load_supernet, load_teacher, save_supernet
from slimgen.training.checkpoint import Stateful
from slimgen.training.ema import Ema
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.optimizers import learning_rate, make_optimizer, optimizer_step
from slimgen.training.precision import Compute, resolve
from slimgen.training.processes import share
from slimgen.training.seeding import batch_indices, derive_seed, make_rng


def new_supernet(settings: SupernetSettings, job: Job, teacher: UNet2DModel) -> KernelSupernet:
    """Return the supernet to train: teacher's stem, time embedding and head, random blocks.

    Raises StageError where `widths` or `init_from` do not fit.
    """
    torch.manual_seed(derive_seed(job.seed, 0, "init"))
    unet = UNet2DModel(**unet_config(teacher))
    try:
        supernet = KernelSupernet(
            unet,
            settings.kernels,
            fractions=settings.widths,
            own_time=settings.preset == "code",
        )
    except ValueError as error:
        raise StageError(f"dbnas.supernet.widths = {list(settings.widths)}: {error}") from None
    if settings.init == "teacher":
        # The choices' weights have other names than the teacher's convs, so they stay random: with
        # the teacher's own weights in it, size 3 would be perfect and no other could come near.
        unet.load_state_dict(teacher.state_dict(), strict=False)
    for name in ("conv_in", "time_proj", "time_embedding", "conv_norm_out", "conv_out"):
        unet.get_submodule(name).load_state_dict(teacher.get_submodule(name).state_dict())
    if settings.init_from is not None:
        try:
            copy_weights(supernet, load_supernet(Path(settings.init_from)))
        except ValueError as error:
            raise StageError(f"dbnas.supernet.init_from: {error}") from None
    return supernet


def draw_path(supernet: KernelSupernet, name: str, *, seed: int, step: int) -> tuple[int, ...]:
    """Return a uniform path through block `name`, from the block's own random stream."""
    rng = make_rng(seed, step, f"path/{name}")
    chosen = torch.randint(len(supernet.kernels), (supernet.positions[name],), generator=rng)
    kernels = [supernet.kernels[i] for i in chosen.tolist()]
    if not supernet.with_widths:
        return tuple(kernels)
    options = supernet.widths[name]
    drawn = torch.randint(len(supernet.fractions), (len(options),), generator=rng).tolist()
    return join_choices(kernels, [widths[i] for widths, i in zip(options, drawn, strict=True)])


class BlockTraining:
    """One block's private training: its modules, optimizer, average and fp16 scaler."""

    def __init__(
        self, supernet: KernelSupernet, name: str, settings: SupernetSettings, compute: Compute
    ) -> None:
        own = [supernet.time_embeddings[key(name)]] if supernet.own_time else []
        self.modules = nn.ModuleList([supernet.blocks[name], *own])
        self.settings = settings
        self.optimizer = make_optimizer(self.modules.parameters(), settings.optimizer)
        self.scaler = compute.scaler()
        self.ema = (
            Ema(self.modules, settings.ema.decay, settings.ema.warmup)
            if averages(settings)
            else None
        )

    def step(self, loss: torch.Tensor, step: int) -> None:
        """Go one step down the loss; parameters off the path have no gradient and stay."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        steps = self.settings.steps
        optimizer_step(
            self.optimizer, self.settings.optimizer, step=step, steps=steps, scaler=self.scaler
        )
        if self.ema is not None:
            self.ema.update(self.modules, step)

    def state(self, name: str) -> dict[str, Stateful]:
        """Return what a checkpoint must hold besides the weights."""
        parts = {"optimizer": self.optimizer, "ema": self.ema, "scaler": self.scaler}
        return {f"{kind}.{name}": part for kind, part in parts.items() if part is not None}


def averages(settings: SupernetSettings) -> bool:
    """Return whether an average of the weights is kept."""
    return settings.ema.decay > 0


def hand_on_time(supernet: KernelSupernet, trainings: dict[str, BlockTraining], name: str) -> None:
    """Start a block's own time embedding from the one that the block before it ended with."""
    names = list(supernet.blocks)
    if supernet.own_time and name != names[0]:
        before = supernet.time_embeddings[key(names[names.index(name) - 1])]
        supernet.time_embeddings[key(name)].load_state_dict(before.state_dict())
        ema = trainings[name].ema
        if ema is not None:
            ema.module.load_state_dict(trainings[name].modules.state_dict())


def supernet(settings: SupernetSettings, job: Job, *, teacher: Path, data: Path) -> None:
    """Train the supernet of `teacher` on the train split of `data`.

    Writes supernet.safetensors and config.json into `job.out`.
    Raises StageError for bad input, Stopped on request.
    """
    images = load_split(data, "train")
    compute = resolve(settings.runtime, job.device)
    teacher_network, process = load_teacher(teacher, images, compute.device)
    net = new_supernet(settings, job, teacher_network)
    compute.place(net).train()
    compute.place(teacher_network)
    trainings = {name: BlockTraining(net, name, settings, compute) for name in net.blocks}
    names = list(trainings)
    T = process.schedule.num_train_timesteps

    def update(step: int, _rng: torch.Generator) -> dict[str, Any]:
        # Batches depend on the step of the block, so that both orders see the same ones.
        turn, step = (
            divmod(step, settings.steps) if settings.order == "sequential" else (None, step)
        )
        rng = make_rng(job.seed, step, "batch", compute.device)
        indices = batch_indices(len(images), settings.batch_size, step, job.seed)
        x0 = images.batch(indices, compute.device, flip=rng if settings.flip else None)
        t = sample_timesteps("antithetic", len(x0), T, rng)  # (n,)
        eps = torch.randn(x0.shape, generator=rng, device=compute.device)
        x0, t, eps = share(x0, t, eps)
        with compute.autocast():
            features = teacher_features(teacher_network, process.schedule.add_noise(x0, eps, t), t)
        losses: dict[str, torch.Tensor] = {}
        for name in names if turn is None else [names[turn]]:
            if step == 0:
                hand_on_time(net, trainings, name)
            path = draw_path(net, name, seed=job.seed, step=step)
            torch.manual_seed(derive_seed(job.seed, step, f"dropout/{name}"))
            with compute.autocast():
                outputs = net.run_block(name, net.inputs(name, features.inputs[name], t), path)
                loss = block_loss(outputs, features.outputs[name])
            trainings[name].step(loss, step)
            losses[name] = loss.detach()
        total = torch.stack(list(losses.values())).sum()
        rate = learning_rate(settings.optimizer, step, settings.steps)
        return {"loss": total, "lr": rate} | {f"loss/{name}": v for name, v in losses.items()}

    state: dict[str, Stateful] = {"supernet": net}
    for name, training in trainings.items():
        state |= training.state(name)
    turns = len(names) if settings.order == "sequential" else 1
    train(job, settings, update=update, state=state, steps=turns * settings.steps)
    for training in trainings.values():
        if training.ema is not None:
            training.modules.load_state_dict(training.ema.state_dict())
    if net.own_time:  # for whole subnets: as the last block left it
        last = net.time_embeddings[key(names[-1])]
        net.unet.time_embedding.load_state_dict(last.state_dict())
    save_supernet(job.out, net)
