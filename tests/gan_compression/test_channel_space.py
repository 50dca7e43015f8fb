"""Spaces of width vectors: published sizes, vectors that read and write, random draws."""

from __future__ import annotations

import collections
import itertools
import random

import pytest

from slimgen.search.channel_space import (
    CONFIG_SETS,
    PUBLISHED,
    ChannelSpace,
    config_set,
    format_widths,
    parse_widths,
    published_widths,
    weights,
)

SIZES = {
    ("resnet", "channels-48"): 5_184,
    ("resnet", "channels-32"): 6_561,
    ("resnet", "channels-64-cycleGAN"): 390_625,
    ("resnet", "channels-64-pix2pix"): 5_764_801,
    ("resnet", "test"): 4,
    ("spade", "channels-48"): 15_552,
    ("spade", "channels-64"): 128_000,
    ("spade", "channels-64-coco"): 390_625,
}


def test_sizes_are_the_published_ones() -> None:
    found = {
        (g, name): space.size for g, sets in CONFIG_SETS.items() for name, space in sets.items()
    }
    assert found == SIZES


def test_enumeration_is_the_space() -> None:
    space = config_set("resnet", "channels-48")
    every = set(space)
    assert len(every) == space.size
    assert {space.largest, space.smallest} <= every
    for widths in every:
        space.check(widths)


def test_vectors_read_and_write() -> None:
    for table in PUBLISHED.values():
        for widths in table.values():
            assert parse_widths(format_widths(widths)) == widths
    assert parse_widths("16_16_32") == (16, 16, 32)
    for text in ("", "16__32", "16_a", "16_-8", "16_0", "1.5_2", "16,32"):
        with pytest.raises(ValueError, match="no width vector"):
            parse_widths(text)


@pytest.mark.parametrize(
    ("generator", "name", "space"),
    [
        ("resnet", "horse2zebra/gan-compression", "channels-32"),
        ("resnet", "edges2shoes/gan-compression", "channels-48"),
        ("resnet", "horse2zebra/fast", "channels-64-cycleGAN"),
        ("resnet", "edges2shoes/fast", "channels-64-pix2pix"),
        ("resnet", "cityscapes/fast", "channels-64-pix2pix"),
        ("resnet", "map2sat/fast", "channels-64-pix2pix"),
        ("spade", "cityscapes/gan-compression", "channels-48"),
        ("spade", "cityscapes/fast", "channels-64"),
        ("spade", "coco/fast", "channels-64-coco"),
    ],
)
def test_released_vectors_lie_in_the_space_they_were_searched_in(generator, name, space) -> None:
    config_set(generator, space).check(published_widths(generator, name))


def test_weights_of_the_first_generation() -> None:
    assert weights(3, "geometric", 3.0) == [1, 3, 9]
    found = weights(5, "arithmetic", 2.0)
    assert [b - a for a, b in itertools.pairwise(found)] == [1, 1, 1, 1]
    assert found[-1] == 2 * found[0]
    assert weights(1, "arithmetic", 2.0) == [1]
    space = ChannelSpace(((48, 32, 16),))
    rng = random.Random(0)
    counts = collections.Counter(
        space.sample(rng, weighting="geometric", ratio=3.0)[0] for _ in range(13_000)
    )
    assert counts[16] == pytest.approx(9_000, abs=250)
    assert counts[48] == pytest.approx(1_000, abs=150)


def test_mutation_and_sampling_stay_inside() -> None:
    space, rng = config_set("spade", "channels-48"), random.Random(1)
    start = space.largest
    assert space.mutate(start, 0.0, rng) == start
    changed = 0
    for _ in range(200):
        space.check(space.sample(rng))
        child = space.mutate(start, 1.0, rng)
        space.check(child)
        changed += sum(a != b for a, b in zip(start, child, strict=True))
    # 5 entries change with 2/3, 3 with 3/4.
    assert changed / 200 == pytest.approx(5 * 2 / 3 + 3 * 3 / 4, abs=0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: config_set("resnet", "channels-32").check((16,) * 7), "7 widths, the space has 8"),
        (lambda: config_set("resnet", "channels-32").check((16,) * 7 + (8,)), "entry 7 is 8"),
        (lambda: config_set("resnet", "channels-99"), "use channels-48, channels-32"),
        (lambda: published_widths("munit", "x"), "use resnet, spade"),
        (lambda: ChannelSpace(((16, 32),)), "wide ones first"),
        (lambda: ChannelSpace(((16, 16),)), "different positive"),
        (
            lambda: ChannelSpace(((32, 16),)).sample(
                random.Random(), weighting="geometric", ratio=0.5
            ),
            "ratio 0.5",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
