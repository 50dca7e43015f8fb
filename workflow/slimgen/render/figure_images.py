"""Figures of images that the jobs wrote: samples from the same noise, and interpolations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from slimgen.render.results import TEACHER, Results
from slimgen.render.style import NAMES, WIDTH
from slimgen.training.job import StageError

COLUMNS = 4
Panel = tuple[str, Path]  # title, file


def read_image(path: Path) -> np.ndarray:
    """Return an image uint8 (h, w, 3).

    Raises StageError naming the file where there is none.
    """
    if not path.is_file():
        raise StageError(f"{path} does not exist")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError):
        raise StageError(f"{path}: not an image that can be read") from None


def sample_panels(results: Results, systems: Sequence[str]) -> list[Panel]:
    """Return the samples of every model of some systems, of the run's first seed."""
    seed, panels = results.settings.seeds[0], []
    for system in systems:
        dataset = (results.settings.dataset,)
        for row in dataset if system == TEACHER else results.settings.rows(system):
            setting = results.on(results.settings.dataset_of(system, row)).shown(system, row)
            name = TEACHER if system == TEACHER else row
            if system == "denoising_student":
                name = f"student of {row}"
            title = f"{name}\n{setting}" if setting else name
            panels.append((title, results.measured(system, row, seed) / "samples.png"))
    return panels


def samples_figure(panels: Sequence[Panel]) -> Figure:
    """Draw one grid of samples per model; the same place is the same noise."""
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    side = WIDTH / COLUMNS
    figure = Figure(figsize=(side * columns, (side + 0.42) * lines))
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, path) in zip(axes.flat, panels, strict=False):
        ax.imshow(read_image(path), interpolation="nearest")
        ax.set_title(title, fontsize=8, pad=3)
    figure.subplots_adjust(wspace=0.06, hspace=0.34, left=0, right=1, top=0.92, bottom=0)
    return figure


def interpolation_panels(results: Results) -> list[Panel]:
    """Return the interpolations of every one-step student, of the run's first seed."""
    seed = results.settings.seeds[0]
    return [
        (
            f"{NAMES['denoising_student']} of {row}, one evaluation",
            results.folder("denoising_student.student", row, seed) / "interpolation.png",
        )
        for row in results.settings.rows("denoising_student")
    ]


def interpolation_figure(panels: Sequence[Panel]) -> Figure:
    """Draw the images between two noises, one pair per line, position from 0 to 1 below."""
    images = [read_image(path) for _, path in panels]
    heights = [WIDTH * image.shape[0] / image.shape[1] for image in images]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.55 * len(images)))
    axes = figure.subplots(len(images), 1, squeeze=False, height_ratios=heights)
    for ax, image, (title, _) in zip(axes.flat, images, panels, strict=True):
        height = image.shape[0] / image.shape[1]
        ax.imshow(image, interpolation="nearest", extent=(0, 1, 0, height))
        ax.set(title=title, yticks=[])
        ax.set_xticks([0, 0.5, 1], ["first noise", "half way", "second noise"])
        ax.tick_params(length=0)
        for label, align in zip(ax.get_xticklabels(), ("left", "center", "right"), strict=True):
            label.set_horizontalalignment(align)
        for side in ax.spines.values():
            side.set_visible(False)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, hspace=0.55 / min(heights))
    return figure
