"""A square grid of images as a PNG."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from slimgen.data.files import atomic_path

TILE = 64  # smaller images are enlarged by a whole factor to about this size
GAP = 2


def save_grid(path: Path, images: torch.Tensor, columns: int) -> None:
    """Write uint8 images (n, c, h, w), 1 or 3 channels, row by row with white gaps."""
    n, c, h, w = images.shape
    factor = max(1, TILE // max(h, w))
    tiles = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    rows = -(-n // columns)
    step_y, step_x = h * factor + GAP, w * factor + GAP
    canvas = torch.full((c, rows * step_y + GAP, columns * step_x + GAP), 255, dtype=torch.uint8)
    for i, tile in enumerate(tiles):
        y, x = GAP + i // columns * step_y, GAP + i % columns * step_x
        canvas[:, y : y + h * factor, x : x + w * factor] = tile
    array = canvas[0] if c == 1 else canvas.permute(1, 2, 0)
    with atomic_path(path) as temporary:
        Image.fromarray(array.contiguous().numpy()).save(temporary, format="PNG")
