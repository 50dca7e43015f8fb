"""Images from a folder; its sub-folders, if they hold the images, are the classes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from slimgen.data.errors import DataError
from slimgen.data.progress import Report, silent
from slimgen.data.raw import Raw, combined_sha256

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
# Whatever a file is called, Pillow looks at its content; other formats may start programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
DEEP_MODES = ("I", "F")  # more than 8 bits a channel: Pillow would clip them, not scale


def list_images(root: Path) -> tuple[list[Path], tuple[str, ...], int]:
    """Return the images in the order of their names, the classes, and how many files are no images.

    Hidden files and folders count as no images. A class folder is searched to any depth.

    Raises DataError for a folder that is missing, holds no image, holds some beside class folders,
    or has a class folder without one.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    images = [
        path
        for path in files
        if path.suffix.lower() in EXTENSIONS and not any(part[0] == "." for part in path.parts)
    ]
    if not images:
        raise DataError(f"{root}: no image in it (of {len(files)} files)")
    loose = [path for path in images if len(path.parts) == 1]
    if loose and len(loose) < len(images):
        raise DataError(f"{root}: {loose[0]} lies beside class folders; move it into one of them")
    if loose:
        return loose, (), len(files) - len(images)
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    empty = sorted(set(classes) - {path.parts[0] for path in images})
    if empty:
        raise DataError(f"{root / empty[0]}: no image in this class folder")
    return images, tuple(classes), len(files) - len(images)


def decode(data: bytes, path: Path, channels: int) -> Image.Image:
    """Return the first frame of an image file, upright, with 1 or 3 channels of 8 bits.

    Raises DataError naming a file that is broken, deeper than 8 bits or partly transparent.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = (
            "no image format is known for it"
            if isinstance(error, UnidentifiedImageError)
            else error
        )
        raise DataError(f"{path}: broken image ({reason})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{path}: broken image ({error})") from None
    if image.mode.split(";")[0] in DEEP_MODES:
        raise DataError(f"{path}: more than 8 bits a channel (mode {image.mode}); convert it first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{path}: transparent pixels; put it on a background first")
    return image.convert("L" if channels == 1 else "RGB")


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Cut out the largest centred square and resize it to size x size (Lanczos, antialiased).

    Cut first: a resize with a box would let pixels from outside of it into the edges.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def read_folder(
    root: Path, *, size: int | None = None, channels: int = 3, report: Report = silent
) -> Raw:
    """Read a folder of images; `size` cuts out the centre square and resizes it with Lanczos.

    Raises DataError naming the file that is broken, or two of different sizes where none is set.
    """
    paths, classes, ignored = list_images(root)
    digests: dict[str, str] = {}
    images: np.ndarray | None = None
    enlarged = 0
    for i, path in enumerate(paths):
        data = (root / path).read_bytes()
        digests[path.as_posix()] = hashlib.sha256(data).hexdigest()
        image = decode(data, root / path, channels)
        if size is not None:
            enlarged += min(image.size) < size
            image = centre_square(image, size)
        pixels = np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)
        if images is None:
            images = np.empty((len(paths), *pixels.shape), dtype=np.uint8)  # (n, c, h, w)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{root}: {paths[0]} has {images.shape[3]}x{images.shape[2]} pixels and {path}"
                f" {image.width}x{image.height}; set source.size to bring them to one size"
            )
        images[i] = pixels
        report("images", i + 1, len(paths))
    assert images is not None  # list_images returns at least one
    numbers = {name: k for k, name in enumerate(classes)}
    labels = np.array([numbers[p.parts[0]] if classes else -1 for p in paths], dtype=np.int64)
    notes = {"ignored_files": ignored} | ({"enlarged_images": enlarged} if size else {})
    return Raw(images, labels, classes, sha256=combined_sha256(digests), notes=notes)
