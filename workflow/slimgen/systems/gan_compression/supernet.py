"""gan_compression.supernet: one generator that holds all narrower ones (Li et al. 2020).

In every step a width vector is drawn, each entry uniformly from its own options, and that subnet
takes a step of the distillation (`sampling: uniform`). With `sandwich` (Yu and Huang 2019) the
widest and the narrowest are trained in every step, beside some that are drawn.

In the paper's original pipeline it begins with a distilled student, generator and discriminator
(`begin_from: pretrain/NAME`), and learns from the mobile teacher that this student learned from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from slimgen.config.gan_compression import SupernetSettings
from slimgen.config.translation import Part
from slimgen.networks.elastic_surgery import ElasticNetwork
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.translators import Shape, make_supernet_of, shape_of
from slimgen.search.channel_space import ChannelSpace
from slimgen.systems.gan_compression.adversary import save_adversary
from slimgen.systems.gan_compression.artefacts import (
    Supernet,
    check_space,
    read_generator,
    resolve_space,
    save_supernet,
)
from slimgen.systems.gan_compression.distilled import (
    Distillation,
    Draw,
    Widths,
    find_taps,
    fresh_generator,
    load_init,
)
from slimgen.systems.gan_compression.objective import load_task
from slimgen.training.job import Job, StageError
from slimgen.training.loop import train
from slimgen.training.precision import resolve
from slimgen.training.seeding import derive_seed


def separated(shape: Shape, parts: Sequence[Part]) -> Shape:
    """Return a shape with separable convolutions in more parts; a custom one stays."""
    if isinstance(shape, ResnetShape):
        return replace(shape, separable=tuple(dict.fromkeys([*shape.separable, *parts])))
    if isinstance(shape, SpadeShape):
        return replace(shape, mobile=shape.mobile or bool(parts))
    return shape


def draw_uniform(space: ChannelSpace, seed: int) -> Draw:
    """Return what draws one width vector per step, from (seed, step) alone."""

    def draw(step: int) -> Sequence[Widths]:
        return [space.sample(random.Random(derive_seed(seed, step, "widths")))]

    return draw


def draw_sandwich(space: ChannelSpace, seed: int, others: int) -> Draw:
    """Return what draws the widest, the narrowest and `others` per step."""

    def draw(step: int) -> Sequence[Widths]:
        rng = random.Random(derive_seed(seed, step, "widths"))
        return [space.largest, space.smallest, *(space.sample(rng) for _ in range(others))]

    return draw


def make_generator_of(
    settings: SupernetSettings, first: nn.Module, space: ChannelSpace, *, seed: int
) -> nn.Module:
    """Return the widest generator of the space, of the kind of `first`, with its first weights.

    Raises StageError where it begins with the weights of `first` and they do not fit.
    """
    shape = separated(shape_of(first), settings.separable)
    if isinstance(shape, ResnetShape | SpadeShape):
        shape = shape.with_widths(space.largest)
    try:
        network = fresh_generator(shape, settings, seed=seed)
    except ValueError as error:
        raise StageError(f"config_set: {error}") from None
    if settings.begin == "teacher":
        if shape != shape_of(first):
            raise StageError(
                f"begin: teacher: the supernet is {shape}, what it begins with {shape_of(first)}; "
                "its weights fit where both are equal (a mobile teacher or pretrain of those "
                "widths)"
            )
        network.load_state_dict(first.state_dict())
    load_init(settings, network)
    return network


def make_elastic_student(
    settings: SupernetSettings,
    first: nn.Module,
    *,
    size: tuple[int, int],
    taps: Sequence[str],
    seed: int,
) -> tuple[ElasticNetwork, ChannelSpace]:
    """Return the supernet on the CPU, and its space; `first` is the generator that it begins with.

    Raises StageError for a space that does not fit and a tap that does not exist.
    """
    space = resolve_space(settings.config_set, shape_of(first))
    network = make_generator_of(settings, first, space, seed=seed)
    try:
        elastic = make_supernet_of(network, size=size, taps=taps)
    except ValueError as error:
        raise StageError(f"supernet: {error}") from None
    check_space(space, elastic.plan)
    return elastic, space


def supernet(
    settings: SupernetSettings,
    job: Job,
    *,
    data: Path,
    teacher: Path,
    begin_from: Path | None = None,
) -> None:
    """Train on the train split of `data`; write supernet.safetensors and adversary.safetensors.

    It learns from `teacher`; `begin_from` is what it begins with, where that is another generator.
    Raises StageError for data, generators or a space that do not fit, Stopped on request.
    """
    pairs, compute = load_task(settings, data), resolve(settings.runtime, job.device)
    network = read_generator(teacher, pairs, "cpu", build=settings.build)
    taps = find_taps(settings, network)
    first = network
    if begin_from is not None:
        first = read_generator(begin_from, pairs, "cpu", build=settings.build)
    elif settings.begin_from is not None:
        raise StageError(f"--begin_from is needed: the settings name {settings.begin_from}")
    elastic, space = make_elastic_student(
        settings, first, size=pairs.size, taps=taps, seed=job.seed
    )
    draw = (
        draw_uniform(space, job.seed)
        if settings.sampling == "uniform"
        else draw_sandwich(space, job.seed, settings.sandwich)
    )
    run = Distillation(
        settings,
        elastic,
        network,
        pairs,
        taps=taps,
        draw=draw,
        compute=compute,
        seed=job.seed,
    )
    if settings.discriminator_init == "teacher":
        run.begin_with_adversary(begin_from or teacher)
    train(job, settings, update=run.update, state=run.state())
    averaged = run.ema.module
    assert isinstance(averaged, ElasticNetwork)
    save_adversary(job.out, run.beside())
    save_supernet(job.out, Supernet(averaged, space, shape_of(averaged.network)), size=pairs.size)
