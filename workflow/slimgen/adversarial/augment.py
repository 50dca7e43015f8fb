"""Differentiable augmentation, geometric and colour (StyleGAN2-ADA, Karras et al. 2020, app. B).

Every transformation is switched on for each image on its own with probability p. In their order:
mirror, quarter turns, whole-pixel shift (exact pixel moves); isotropic scale, rotation, anisotropic
scale, rotation, shift (one resampling, between an up- and a downsampling by two with the SYM6
wavelet, whose identity is exact because the wavelet is orthogonal); brightness, contrast, luma
mirror, hue, saturation (one affine map of the colours). Where the paper's own code has a quarter
turn of 0 or 3 only, all four are drawn here. Gradients flow through all of it; everything is
built of gathers and matrix products, which PyTorch's deterministic mode covers.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

# SYM6, the least asymmetric orthogonal wavelet with six vanishing moments (Daubechies 1992).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
DELAY = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6)  # where a pixel's centre falls

SHIFT = 0.125  # of the width: bound of whole-pixel shifts, deviation of the others
SCALE = 0.2 * math.log(2)
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5 * math.log(2), math.log(2)


def move_pixels(
    x: torch.Tensor, *, mirror: torch.Tensor, turns: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """Mirror, then turn by `turns` times 90 degrees, then shift, without interpolation.

    x (n, c, h, w); mirror (n,) bool; turns (n,) int64, as in torch.rot90, even for images that are
    not square; shift (n, 2) int64 down and right, the border reflected.
    """
    n, c, h, w = x.shape
    rows = torch.arange(h, device=x.device)[None, :, None] - shift[:, 0, None, None]
    columns = torch.arange(w, device=x.device)[None, None, :] - shift[:, 1, None, None]
    i, j = (part.expand(n, h, w) for part in (reflect(rows, h), reflect(columns, w)))
    half = (turns[:, None, None] // 2) % 2 == 1
    i, j = torch.where(half, h - 1 - i, i), torch.where(half, w - 1 - j, j)
    quarter = turns[:, None, None] % 2 == 1
    i, j = torch.where(quarter, j, i), torch.where(quarter, w - 1 - i, j)
    j = torch.where(mirror[:, None, None], w - 1 - j, j)
    index = (i * w + j).reshape(n, 1, h * w).expand(n, c, h * w)
    return x.reshape(n, c, h * w).gather(2, index).reshape(n, c, h, w)


def resample(x: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Apply a geometric transformation to each image, the border reflected.

    x (n, c, h, w); inverse (n, 2, 3) maps (column, row, 1) of the result to (column, row) of `x`,
    in pixels from the centre.
    """
    h, w = x.shape[2:]
    m = max(h, w) // 2 + len(SYM6) // 2  # reaches a quarter turn and more; beyond it, the edge
    up, right = _upsampling(h, m, x.device, x.dtype), _upsampling(w, m, x.device, x.dtype)
    fine = up @ x @ right.T  # (n, c, 2 (h + 2 m) + 10, 2 (w + 2 m) + 10)
    # Coordinates of the fine grid below and around the result, in pixels from the centre.
    y = _fine_to_pixel(torch.arange(2 * h + 10, device=x.device, dtype=x.dtype), h)
    z = _fine_to_pixel(torch.arange(2 * w + 10, device=x.device, dtype=x.dtype), w)
    grid = torch.stack(torch.meshgrid(z, y, indexing="xy"))  # (2, rows, columns)
    a = inverse.to(x.dtype)
    source = torch.einsum("nij,jrk->nirk", a[:, :, :2], grid) + a[:, :, 2, None, None]
    taken = _bilinear(
        fine,
        _pixel_to_fine(source[:, 1], h, m).clamp(10, 2 * (h + 2 * m) - 1),
        _pixel_to_fine(source[:, 0], w, m).clamp(10, 2 * (w + 2 * m) - 1),
    )
    down, left = (_downsampling(size, x.device, x.dtype) for size in (h, w))
    return down @ taken @ left.T


def change_colours(x: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """Map the channels of each pixel by `colours` (n, c, c + 1): a matrix and an offset."""
    return torch.einsum("nij,njhw->nihw", colours[:, :, :-1], x) + colours[:, :, -1, None, None]


def draw_moves(
    n: int, p: float, rng: torch.Generator, *, height: int, width: int
) -> dict[str, torch.Tensor]:
    """Draw the arguments of `move_pixels`: mirror, turns, shift."""
    mirror = _chosen(n, p, rng) & _chosen(n, 0.5, rng)
    turns = torch.randint(4, (n,), generator=rng, device=rng.device)
    if height != width:
        turns = turns // 2 * 2
    bounds = torch.tensor([height, width], device=rng.device) * SHIFT
    shift = ((2 * _uniform(n, rng, 2) - 1) * bounds).round().long()
    return {
        "mirror": mirror,
        "turns": turns * _chosen(n, p, rng),
        "shift": shift * _chosen(n, p, rng)[:, None],
    }


def draw_geometry(
    n: int, p: float, rng: torch.Generator, *, height: int, width: int
) -> torch.Tensor:
    """Draw the inverse transformation of `resample`, (n, 2, 3)."""
    # Two rotations share p: at least one of them happens with probability p.
    p_rotation = 1 - math.sqrt(1 - p)
    scale = (_normal(n, rng) * SCALE * _chosen(n, p, rng)).exp()
    before = (2 * _uniform(n, rng) - 1) * math.pi * _chosen(n, p_rotation, rng)
    stretch = (_normal(n, rng) * SCALE * _chosen(n, p, rng)).exp()
    after = (2 * _uniform(n, rng) - 1) * math.pi * _chosen(n, p_rotation, rng)
    size = torch.tensor([width, height], device=rng.device)
    shift = _normal(n, rng, 2) * SHIFT * size * _chosen(n, p, rng)[:, None]
    # forward = shift . after . stretch . before . scale, so the inverse is the reverse of inverses.
    linear = (
        _diagonal(1 / scale, 1 / scale)
        @ _rotation(-before)
        @ _diagonal(1 / stretch, stretch)
        @ _rotation(-after)
    )
    return torch.cat([linear, -linear @ shift[:, :, None]], dim=2)


def draw_colours(n: int, p: float, rng: torch.Generator, *, channels: int) -> torch.Tensor:
    """Draw the argument of `change_colours`, (n, channels, channels + 1).

    One channel has brightness and contrast only. Raises ValueError for other numbers than 1 and 3.
    """
    if channels not in (1, 3):
        raise ValueError(f"augmentation of {channels} channels: colours are defined for 1 and 3")
    brightness = _normal(n, rng) * BRIGHTNESS * _chosen(n, p, rng)
    contrast = (_normal(n, rng) * CONTRAST * _chosen(n, p, rng)).exp()
    offset = (contrast * brightness)[:, None, None].expand(n, channels, 1)
    linear = contrast[:, None, None] * torch.eye(channels, device=rng.device)
    if channels == 3:
        grey = torch.full((3, 3), 1 / 3, device=rng.device)  # v v^T, v the axis of luma
        eye = torch.eye(3, device=rng.device)
        mirrored = (_chosen(n, p, rng) & _chosen(n, 0.5, rng)).float()[:, None, None]
        hue = (2 * _uniform(n, rng) - 1) * math.pi * _chosen(n, p, rng)
        saturation = (_normal(n, rng) * SATURATION * _chosen(n, p, rng)).exp()[:, None, None]
        mix = (grey + (eye - grey) * saturation) @ _turn_hue(hue) @ (eye - 2 * grey * mirrored)
        linear, offset = mix @ linear, mix @ offset
    return torch.cat([linear, offset], dim=2)


def reflect(index: torch.Tensor, size: int) -> torch.Tensor:
    """Fold indices into 0 .. size - 1 by reflection at the first and the last pixel."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    folded = index.remainder(period)
    return torch.minimum(folded, period - folded)


def _chosen(n: int, p: float, rng: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=rng, device=rng.device) < p


def _uniform(n: int, rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(n, *shape, generator=rng, device=rng.device)


def _normal(n: int, rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(n, *shape, generator=rng, device=rng.device)


def _diagonal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.diag_embed(torch.stack([a, b], dim=1))


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def _turn_hue(angle: torch.Tensor) -> torch.Tensor:
    """Rotate colours about the luma axis (Rodrigues), (n, 3, 3)."""
    eye, k = torch.eye(3, device=angle.device), 1 / math.sqrt(3)
    cross = torch.tensor([[0, -k, k], [k, 0, -k], [-k, k, 0]], device=angle.device)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * eye + sin * cross + (1 - cos) / 3


def _fine_to_pixel(u: torch.Tensor, size: int) -> torch.Tensor:
    return (u - DELAY) / 2 - (size - 1) / 2


def _pixel_to_fine(position: torch.Tensor, size: int, margin: int) -> torch.Tensor:
    return 2 * (position + (size - 1) / 2 + margin) + DELAY


@lru_cache(maxsize=16)
def _upsampling(size: int, margin: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Reflect `margin` pixels on both sides, then double: pixel k becomes taps at 2k .. 2k + 11.

    A matrix (2 (size + 2 margin) + 10, size).
    """
    k, j = torch.arange(size + 2 * margin)[:, None], torch.arange(len(SYM6))
    rows, columns = 2 * k + j, reflect(k - margin, size).expand(-1, len(SYM6))
    taps = math.sqrt(2) * torch.tensor(SYM6, dtype=torch.float64).expand(len(k), -1)
    matrix = torch.zeros(2 * len(k) + 10, size, dtype=torch.float64)
    return matrix.index_put_((rows, columns), taps, accumulate=True).to(device, dtype)


def _downsampling(size: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Halve: the transpose of the doubling without margin, a matrix (size, 2 size + 10)."""
    return _upsampling(size, 0, device, dtype).T / 2


def _bilinear(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Values of x (n, c, h, w) at fractional rows and columns (n, r, k) that lie inside it."""
    n, c, h, w = x.shape
    i, j = rows.floor().clamp(max=h - 2), columns.floor().clamp(max=w - 2)
    fi, fj = (rows - i)[:, None], (columns - j)[:, None]
    flat, corner = x.reshape(n, c, h * w), (i * w + j).long().reshape(n, 1, -1)

    def at(offset: int) -> torch.Tensor:
        index = (corner + offset).expand(n, c, corner.shape[-1])
        return flat.gather(2, index).reshape(n, c, *rows.shape[1:])

    top = torch.lerp(at(0), at(1), fj.expand(n, c, *rows.shape[1:]))
    bottom = torch.lerp(at(w), at(w + 1), fj.expand(n, c, *rows.shape[1:]))
    return torch.lerp(top, bottom, fi.expand(n, c, *rows.shape[1:]))


def augment(x: torch.Tensor, p: float, rng: torch.Generator) -> torch.Tensor:
    """Return A_p(x), each transformation on with probability p for each image.

    x (n, c, h, w) in [-1, 1], one or three channels; `rng` lives on x's device. p = 0 returns x
    itself and draws nothing. Raises ValueError for other numbers of channels.
    """
    if p == 0:
        return x
    n, c, h, w = x.shape
    colours = draw_colours(n, p, rng, channels=c)
    x = x.float()
    x = move_pixels(x, **draw_moves(n, p, rng, height=h, width=w))
    x = resample(x, draw_geometry(n, p, rng, height=h, width=w))
    return change_colours(x, colours)
