"""Budgets of the configs that come with the repository, by the shapes of their networks alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from slimgen.config.rows import translation_dataset
from slimgen.config.run import Config, read_config
from slimgen.data.pairs import Pairs
from slimgen.data.sources import read_source
from slimgen.evaluation.channel_costs import subnet_costs
from slimgen.evaluation.complexity import Macs, count_macs
from slimgen.networks.translators import Shape, build_translator
from slimgen.search.channel_space import published_widths
from slimgen.systems.gan_compression.artefacts import kind_of, resolve_space, resolve_widths
from slimgen.systems.gan_compression.distilled import find_taps
from slimgen.systems.gan_compression.generators import build_generator, generator_shape
from slimgen.systems.gan_compression.search import counted
from slimgen.systems.gan_compression.supernet import make_elastic_student, separated

CONFIG = Path(__file__).parents[2] / "config"
SIZES = {"edges2shoes": (256, 256), "horse2zebra": (256, 256), "cityscapes": (256, 512)}
# search -> the released vector that it stands for
RELEASED = {
    ("edges2shoes", "fast"): "edges2shoes/fast",
    ("edges2shoes", "original"): "edges2shoes/gan-compression",
    ("horse2zebra", "cyclegan"): "horse2zebra/fast",
    ("cityscapes", "gaugan"): "cityscapes/fast",
}


def read(name: str) -> Config:
    return read_config(CONFIG / f"{name}.yaml")


def of(config: Config, stage: str, variant: str) -> Any:
    return getattr(config.gan_compression, stage).variant(variant)


def one_pair(config: Config, search: str) -> Pairs:
    """Return a pair of the kind and size that a search sees; folders are not opened."""
    name = translation_dataset(config, "search", search)
    settings: Any = config.data.prepare.variant(name)
    source = settings.source
    if source.kind == "digit_pairs":
        raw = read_source(source)
        inputs, targets = (torch.from_numpy(side.images[:1]) for side in (raw.inputs, raw.targets))
        classes = raw.input_classes
    else:
        classes = getattr(source, "classes", 0)
        size = SIZES[config.run]
        inputs = torch.zeros(1, 1 if classes else 3, *size, dtype=torch.uint8)
        targets = torch.zeros(1, 3, *size, dtype=torch.uint8)
    label = torch.zeros(1, dtype=torch.int64)
    kind = "labels" if classes else "image"
    return Pairs(
        inputs, targets, label, label, aligned=True, input_kind=kind, input_classes=classes
    )


@pytest.mark.parametrize("name", read("config").gan_compression.search.variants)
def test_at_least_a_twentieth_of_the_demos_spaces_keeps_the_budget(name) -> None:
    """Else evolution would draw in vain, and a random search find little to choose from."""
    config = read("config")
    settings = of(config, "search", name)
    wide = of(config, "supernet", settings.supernet)
    pairs = one_pair(config, name)
    teacher = build_generator(of(config, *wide.origin).generator, pairs)
    elastic, space = make_elastic_student(
        wide, teacher, size=pairs.size, taps=find_taps(wide, teacher), seed=0
    )
    x = pairs.batch_inputs(torch.zeros(1, dtype=torch.int64))
    costs = subnet_costs(elastic, x)
    budget = counted(count_macs(teacher, x), settings) / settings.budget_ratio
    rng = random.Random(0)
    drawn = [counted(costs.macs(space.sample(rng)), settings) for _ in range(1000)]
    assert sum(macs <= budget for macs in drawn) >= 50
    assert max(drawn) > budget


def macs_of(shape: Shape, pairs: Pairs) -> Macs:
    with torch.device("meta"):
        network = build_translator(shape)
    return count_macs(network, pairs.batch_inputs(torch.zeros(1, dtype=torch.int64)).to("meta"))


def wide_shape(config: Config, stage: str, variant: str, pairs: Pairs) -> Shape:
    """Return what a teacher or pretrain is made of."""
    settings = of(config, stage, variant)
    if stage != "pretrain":
        return generator_shape(settings.generator, pairs)
    return wide_shape(config, *settings.origin, pairs).with_widths((settings.ngf,) * 8)


@pytest.mark.parametrize(("run", "name"), RELEASED)
def test_the_papers_budgets_hold_the_released_widths_by_the_papers_rule(run, name) -> None:
    config = read(run)
    assert set(config.gan_compression.search.variants) == {n for r, n in RELEASED if r == run}
    settings, pairs = of(config, "search", name), one_pair(config, name)
    assert settings.budget_rule == "torchprofile"
    wide = of(config, "supernet", settings.supernet)
    first = wide_shape(config, *wide.beginning, pairs)
    shape = separated(first, wide.separable)
    space = resolve_space(wide.config_set, shape)
    if wide.begin == "teacher":  # its weights fit
        assert first == shape.with_widths(space.largest)
    released = resolve_widths(RELEASED[run, name], shape)
    assert released == published_widths(kind_of(shape), RELEASED[run, name])
    space.check(released)
    counts = {
        what: counted(macs_of(shape.with_widths(widths), pairs), settings)
        for what, widths in (
            ("smallest", space.smallest),
            ("released", released),
            ("largest", space.largest),
        )
    }
    assert counts["smallest"] < counts["released"] <= settings.budget < counts["largest"]
    assert counts["released"] > 0.85 * settings.budget  # as near to it as the release came
