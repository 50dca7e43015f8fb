"""Images made smaller by whole factors."""

from __future__ import annotations

import numpy as np

from slimgen.data.errors import DataError


def shrink_images(images: np.ndarray, factor: int) -> np.ndarray:
    """Return uint8 (n, c, h, w) as rounded means over squares, (n, c, h / factor, w / factor).

    Raises DataError where `factor` does not divide height and width.
    """
    if factor == 1:
        return images
    n, c, height, width = images.shape
    if height % factor or width % factor:
        raise DataError(f"shrink = {factor}: it does not divide {height} x {width} pixels")
    squares = images.reshape(n, c, height // factor, factor, width // factor, factor)
    return np.rint(squares.mean((3, 5))).astype(np.uint8)
