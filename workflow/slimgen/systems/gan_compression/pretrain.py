"""gan_compression.pretrain: a narrower student of a mobile teacher, the second step of the original
pipeline (Li et al. 2020). It begins with the teacher's channels of the largest L1 norms.
"""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from slimgen.config.gan_compression import PretrainSettings
from slimgen.networks.translators import make_supernet_of, save_translator, shape_of
from slimgen.networks.weight_transfer import transfer
from slimgen.systems.gan_compression.adversary import save_adversary
from slimgen.systems.gan_compression.artefacts import kind_of, read_generator, resolve_widths
from slimgen.systems.gan_compression.distilled import (
    Distillation,
    find_taps,
    fresh_generator,
    load_init,
)
from slimgen.systems.gan_compression.objective import load_task
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.precision import resolve


def make_student(
    settings: PretrainSettings, teacher: nn.Module, *, size: tuple[int, int], seed: int
) -> nn.Module:
    """Return the student of a teacher on the CPU, which stays as it is.

    Raises StageError for widths that it does not have.
    """
    shape = shape_of(teacher)
    if settings.widths is None and kind_of(shape) == "custom":
        raise StageError("widths: a custom generator has no ngf, name the student's widths")
    widths: tuple[int, ...] = (settings.ngf,) * 8
    if settings.widths is not None:
        widths = resolve_widths(settings.widths, shape)
    try:
        plan = make_supernet_of(copy.deepcopy(teacher), size=size).plan
        plan.check(widths)
        student = fresh_generator(shape.with_widths(widths), settings, seed=seed)
    except ValueError as error:
        raise StageError(f"widths of the student: {error}") from None
    if settings.begin == "teacher":
        student.load_state_dict(transfer(teacher, plan, widths).state_dict())
    load_init(settings, student)
    return student


def pretrain(settings: PretrainSettings, job: Job, *, data: Path, teacher: Path) -> None:
    """Distil the student on the train split of `data`; write it and adversary.safetensors.

    Raises StageError for data or a teacher that does not fit, Stopped on request.
    """
    pairs, compute = load_task(settings, data), resolve(settings.runtime, job.device)
    network = read_generator(teacher, pairs, "cpu", build=settings.build)
    student = make_student(settings, network, size=pairs.size, seed=job.seed)
    run = Distillation(
        settings,
        student,
        network,
        pairs,
        taps=find_taps(settings, network),
        draw=None,
        compute=compute,
        seed=job.seed,
    )
    if settings.discriminator_init == "teacher":
        run.begin_with_adversary(teacher)
    train(job, settings, update=run.update, state=run.state())
    save_adversary(job.out, run.beside())
    save_translator(job.out, run.ema.module)
