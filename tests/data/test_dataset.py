"""Pixels to [-1, 1] and back: exact levels, rounding, clipping; mirrors only where asked."""

from __future__ import annotations

import torch

from slimgen.data.dataset import Images, normalize, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_levels_fill_the_range_and_come_back():
    x = normalize(LEVELS)
    assert (float(x[0]), float(x[-1])) == (-1.0, 1.0)
    torch.testing.assert_close(x.diff(), torch.full((255,), 2 / 255))
    assert torch.equal(to_uint8(x), LEVELS)


def test_floats_are_rounded_to_the_nearest_level_and_clipped():
    level = 2 / 255
    inner = LEVELS[1:-1]
    for shift, expected in ((0.4, inner), (-0.4, inner), (0.6, inner + 1), (-0.6, inner - 1)):
        assert torch.equal(to_uint8(normalize(inner) + shift * level), expected)
    assert to_uint8(torch.tensor([-7.0, -1.01, 1.01, 90.0])).tolist() == [0, 0, 255, 255]


def test_half_of_the_images_are_mirrored_left_to_right():
    pixels = torch.randint(0, 256, (400, 2, 3, 5), generator=torch.Generator().manual_seed(0))
    split = Images(pixels.to(torch.uint8), torch.zeros(400, dtype=torch.int64), 1)
    order = torch.arange(400).flip(0)
    plain = split.batch(order)
    assert torch.equal(plain, normalize(split.images[order]))
    flipped = split.batch(order, flip=torch.Generator().manual_seed(1))
    same = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240
