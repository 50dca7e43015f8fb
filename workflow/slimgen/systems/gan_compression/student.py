"""gan_compression.student: the found subnet as an ordinary generator, fine-tuned; its baselines.

Baselines by the settings: the same widths from random weights, without matched features, with a
fresh discriminator, one width everywhere within the same multiply-adds, without pseudo pairs (as a
CycleGAN), given or published widths. `steps: 0` writes the supernet's weights as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from slimgen.config.gan_compression import StudentSettings
from slimgen.data.pairs import Pairs
from slimgen.evaluation.channel_costs import subnet_costs
from slimgen.networks.channel_plan import ChannelPlan
from slimgen.networks.elastic_norms import calibrate
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.translators import (
    Shape,
    build_translator,
    extract_translator,
    make_supernet_of,
    sample_of,
    save_translator,
    shape_of,
)
from slimgen.search.channel_space import Widths, format_widths
from slimgen.systems.gan_compression.adversary import load_adversary, save_adversary
from slimgen.systems.gan_compression.artefacts import (
    Found,
    load_supernet,
    read_arch,
    read_generator,
    resolve_widths,
)
from slimgen.systems.gan_compression.cycles import Cycles
from slimgen.systems.gan_compression.distilled import (
    Distillation,
    find_taps,
    fresh_generator,
    load_init,
)
from slimgen.systems.gan_compression.objective import load_task
from slimgen.systems.gan_compression.supernet import separated
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.precision import Compute, resolve

FIRST_OF_THIRD = ("edges2shoes/legacy",)  # published vectors of the legacy generator class
CALIBRATION, BATCH = 256, 64  # images for norms with running statistics, as in the released code


@dataclass(frozen=True)
class Chosen:
    """Which generator is trained."""

    widths: Widths
    shape: Shape  # of the widest, in which the widths count


def uniform_widths(plan: ChannelPlan, share: float) -> Widths:
    """Return the same share of every entry's full width, at least the narrowest that it can be."""
    units = [
        [group for group in plan.groups if group.entry == entry]
        for entry in range(len(plan.entries))
    ]
    widths = []
    for full, least, groups in zip(plan.full, plan.smallest, units, strict=True):
        fitting = (
            width
            for width in range(int(full * share), least, -1)
            if all(width * group.unit % group.multiple == 0 for group in groups)
        )
        widths.append(next(fitting, least))
    return tuple(widths)


def widest_uniform(found: Found, size: tuple[int, int]) -> Widths:
    """Return the widest uniform widths with at most the multiply-adds of the found ones.

    Raises StageError where even the narrowest have more.
    """
    elastic = make_supernet_of(build_translator(found.shape), size=size)
    costs, widest = subnet_costs(elastic, sample_of(found.shape, size)), max(elastic.plan.full)
    for width in range(widest, 0, -1):
        widths = uniform_widths(elastic.plan, width / widest)
        if costs.macs(widths).total <= found.macs:
            return widths
    raise StageError(f"arch uniform: no uniform width has at most {found.macs:,} MACs")


def choose(
    settings: StudentSettings, teacher: nn.Module, arch: Path | None, size: tuple[int, int]
) -> Chosen:
    """Return the widths that the settings mean.

    Raises StageError where they need an arch.json that is not given, or are none.
    """
    if arch is None:
        if settings.widths is None:
            raise StageError("--arch is needed: the settings name no widths")
        shape = separated(shape_of(teacher), settings.separable)
        if settings.widths in FIRST_OF_THIRD and isinstance(shape, ResnetShape):
            shape = replace(shape, first_of_third=True)
        return Chosen(resolve_widths(settings.widths, shape), shape)
    found = read_arch(arch, build=settings.build)
    if settings.widths is not None:
        return Chosen(resolve_widths(settings.widths, found.shape), found.shape)
    if settings.arch == "uniform":
        return Chosen(widest_uniform(found, size), found.shape)
    return Chosen(found.widths, found.shape)


def make_student(
    settings: StudentSettings, chosen: Chosen, supernet: Path | None, pairs: Pairs, seed: int
) -> nn.Module:
    """Return the student with its first weights, on the CPU.

    Raises StageError for widths that there are none of, or a supernet of another generator.
    """
    what = f"widths {format_widths(chosen.widths)}"
    if settings.begin == "random":
        try:
            student = fresh_generator(chosen.shape.with_widths(chosen.widths), settings, seed=seed)
        except ValueError as error:
            raise StageError(f"{what}: {error}") from None
        load_init(settings, student)
        return student
    if supernet is None:
        raise StageError("--supernet is needed: begin is supernet")
    whole = load_supernet(supernet, "cpu", build=settings.build)
    if whole.shape != chosen.shape:
        raise StageError(f"supernet {supernet}: the arch was searched in another one")
    try:
        student = extract_translator(whole.network, chosen.widths)
    except ValueError as error:
        raise StageError(f"{what}: {error}") from None
    batches = torch.arange(min(CALIBRATION, len(pairs))).split(BATCH)
    calibrate(student, (pairs.batch_inputs(indices) for indices in batches))
    load_init(settings, student)
    return student


def make_cycles(
    settings: StudentSettings,
    student: nn.Module,
    teacher: nn.Module,
    folder: Path,
    pairs: Pairs,
    *,
    compute: Compute,
    seed: int,
) -> Cycles:
    """Return the training of a student as a CycleGAN; its way back begins as the teacher's.

    Raises StageError where the teacher has none.
    """
    shape = shape_of(teacher)
    try:
        back = build_translator(shape)
        load_adversary(folder, back, name="back.generator")
        run = Cycles(settings, student, back, pairs, compute=compute, seed=seed)
        if settings.discriminator_init == "teacher":
            load_adversary(folder, run.adversaries["targets"].network)
            load_adversary(folder, run.adversaries["inputs"].network, name="back.discriminator")
    except ValueError as error:
        raise StageError(f"pseudo_pairs off: {error}") from None
    return run


def begun_from(settings: StudentSettings, teacher: Path, supernet: Path | None) -> Path | None:
    """Return the folder whose discriminator the student's begins as; None for a fresh one.

    Raises StageError where it is not given.
    """
    if settings.discriminator_init == "supernet":
        if supernet is None:
            raise StageError("--supernet is needed: discriminator_init is supernet")
        return supernet
    return teacher if settings.discriminator_init == "teacher" else None


def student(
    settings: StudentSettings,
    job: Job,
    *,
    data: Path,
    teacher: Path,
    supernet: Path | None = None,
    arch: Path | None = None,
) -> None:
    """Train on the train split of `data`; write the generator and adversary.safetensors.

    `arch` is what a search found; `supernet` what it searched in, where the student or its
    discriminator begins there.
    Raises StageError for inputs that do not fit, Stopped on request.
    """
    pairs, compute = load_task(settings, data), resolve(settings.runtime, job.device)
    wide = read_generator(teacher, pairs, "cpu", build=settings.build)
    chosen = choose(settings, wide, arch, pairs.size)
    network = make_student(settings, chosen, supernet, pairs, job.seed).requires_grad_(True)
    run: Distillation | Cycles
    if settings.task == "unpaired" and not settings.pseudo_pairs:
        run = make_cycles(settings, network, wide, teacher, pairs, compute=compute, seed=job.seed)
    else:
        run = Distillation(
            settings,
            network,
            wide,
            pairs,
            taps=find_taps(settings, wide) if settings.distill else (),
            draw=None,
            compute=compute,
            seed=job.seed,
        )
        inherited = begun_from(settings, teacher, supernet)
        if inherited is not None:
            run.begin_with_adversary(inherited)
    train(job, settings, update=run.update, state=run.state())
    save_adversary(job.out, run.beside())
    save_translator(job.out, run.ema.module)
