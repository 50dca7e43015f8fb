"""One look for every figure: fonts, colours per system, marks per row, and saving without dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from slimgen.data.files import atomic_path
from slimgen.render.outputs import FIGURE_FORMATS

DPI = 150
WIDTH = 7.0  # inches, the text width of a two-column page
_PALETTE = sns.color_palette("colorblind")
COLOURS: dict[str, Any] = {
    "teacher": (0.2, 0.2, 0.2),
    "dbnas": _PALETTE[0],
    "denoising_student": _PALETTE[1],
    "act": _PALETTE[2],
    "autogan": _PALETTE[3],
    "gan_compression": _PALETTE[4],
}
NAMES = {
    "teacher": "teacher",
    "dbnas": "DBNAS",
    "denoising_student": "Denoising Student",
    "act": "ACT",
    "autogan": "AutoGAN",
    "gan_compression": "GAN Compression",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
}


def use_style() -> None:
    """Set the look; called once before the figures of a page."""
    mpl.use("Agg")
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "figure.dpi": DPI,
            "grid.linewidth": 0.4,
            "legend.frameon": False,
            "legend.fontsize": "small",
            "pdf.fonttype": 42,
            "font.size": 9,
        }
    )


def line_colours(count: int) -> Sequence[Any]:
    """Return one colour per line: of the colour-blind palette, or an even scale beyond it."""
    return _PALETTE[:count] if count <= len(_PALETTE) else sns.color_palette("viridis", count)


def use_log(ax: Axes, axis: str, values: Sequence[float]) -> None:
    """Make the x or y axis logarithmic where all values are positive, with plain numbers at ticks.

    Ticks stand at powers of ten, and over less than two decades between them too.
    """
    if not values or min(values) <= 0:
        return
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    span = max(values) / min(values)
    short = span < 100
    between = (1, 1.5, 2, 3, 5, 7) if span < 8 else (1, 2, 5)
    ticks = ax.xaxis if axis == "x" else ax.yaxis
    ticks.set_major_locator(LogLocator(subs=between if short else (1,)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_formatter(NullFormatter())
    if short:
        ticks.set_minor_locator(NullLocator())


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `{name}.png` and `{name}.pdf`, the same bytes for the same figure."""
    for suffix in FIGURE_FORMATS:
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            figure.savefig(
                temporary, format=suffix, dpi=DPI, metadata=METADATA[suffix], bbox_inches="tight"
            )
    figure.clear()
