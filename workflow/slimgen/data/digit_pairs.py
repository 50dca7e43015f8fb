"""Pairs made of 8x8 digits: outline -> digit, thin and thick strokes, grey levels -> digit.

A digit is doubled in size by linear interpolation, and each square of 2x2 pixels is then shifted by
one number, clipped to 0..255 and rounded, such that its four pixels have exactly the sum 4 x of the
pixel x that they came from: mean pooling gives the original back without any error. Again for 32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy import ndimage

from slimgen.data.raw import Raw, RawPairs

LEVELS = 4
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)[None, None]
BISECTIONS = 32  # of a shift within +-255, to 1e-7
PARTS = 192  # the exact pixels are whole multiples of 1/192: sixteenths, over 1, 2, 3 or 4


def double(images: np.ndarray) -> np.ndarray:
    """Return uint8 images (n, c, h, w) as (n, c, 2 h, 2 w) whose 2x2 means are the given ones."""
    smooth = images.astype(np.float64)
    for axis in (2, 3):
        smooth = _double_axis(smooth, axis)
    n, c, h, w = images.shape
    squares = smooth.reshape(n, c, h, 2, w, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h, w, 4)
    total = 4 * images.astype(np.int64)
    # The sum of clip(square + s, 0, 255) rises with s: bisect for the s that gives the total.
    low, high = np.full((n, c, h, w, 1), -255.0), np.full((n, c, h, w, 1), 255.0)
    for _ in range(BISECTIONS):
        shift = (low + high) / 2
        above = np.clip(squares + shift, 0, 255).sum(-1, keepdims=True) > total[..., None]
        low, high = np.where(above, low, shift), np.where(above, shift, high)
    exact = np.rint(PARTS * np.clip(squares + high, 0, 255)).astype(np.int64)
    pixels, lost = np.divmod(exact, PARTS)
    # What rounding down lost goes to the pixels that lost most, one each.
    rank = np.argsort(np.argsort(-lost, axis=-1, kind="stable"), axis=-1, kind="stable")
    pixels += rank < (total - pixels.sum(-1))[..., None]
    squares = pixels.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return squares.reshape(n, c, 2 * h, 2 * w).astype(np.uint8)


def _double_axis(x: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation at the quarters: 3/4 of the own pixel, 1/4 of the nearer neighbour."""
    pad = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = np.pad(x, pad, mode="edge")
    size = x.shape[axis]
    before = np.take(padded, range(size), axis)
    after = np.take(padded, range(2, size + 2), axis)
    both = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return both.reshape(shape)


def outline(images: np.ndarray) -> np.ndarray:
    """Return the pixels just outside of what is at least half bright, as 255 on 0."""
    inside = images >= 128
    return np.where(ndimage.binary_dilation(inside, CROSS) & ~inside, 255, 0).astype(np.uint8)


def thin(images: np.ndarray) -> np.ndarray:
    """Return images with thinner strokes: the minimum over each pixel's cross."""
    return ndimage.grey_erosion(images, footprint=CROSS)


def thick(images: np.ndarray) -> np.ndarray:
    """Return images with thicker strokes: the maximum over each pixel's cross."""
    return ndimage.grey_dilation(images, footprint=CROSS)


def grey_levels(images: np.ndarray) -> np.ndarray:
    """Return label maps: which quarter of 0..255 each pixel lies in, 0 to 3."""
    return (images // (256 // LEVELS)).astype(np.uint8)


def digit_pairs(
    digits: Raw, task: Literal["edges", "strokes", "labels"], *, size: int = 16
) -> RawPairs:
    """Return the pairs of a task, (n, 1, size, size), in the order of the digits."""
    images = digits.images
    while images.shape[-1] < size:
        images = double(images)
    if task == "strokes":
        sides = replace(digits, images=thin(images)), replace(digits, images=thick(images))
        return RawPairs(*sides, relation="divided")
    targets = replace(digits, images=images)
    if task == "labels":
        inputs = replace(digits, images=grey_levels(images))
        return RawPairs(inputs, targets, relation="aligned", input_classes=LEVELS)
    return RawPairs(replace(digits, images=outline(images)), targets, relation="aligned")
