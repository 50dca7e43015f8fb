"""What a source says of its images before they are there."""

from __future__ import annotations

from typing import Any

DOWNLOADS = {
    "cifar10": (3, 32),
    "cifar10_jpeg": (3, 32),
    "fashion_mnist": (1, 28),
    "stl10": (3, 96),
}


def known_shape(source: Any) -> tuple[int | None, int | None]:
    """Return (channels, pixels a side) of a source's images, None for what only they can tell."""
    match source.kind:
        case "digits":
            return 1, 8
        case "photo_patches":
            return 1, source.size
        case "folder":
            return source.channels, source.size
        case "download":
            channels, size = DOWNLOADS[source.name]
            return channels, size // source.shrink
    return None, None
