"""One look for every figure: fonts, colours per system, marks per row, and saving without dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

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
}
NAMES = {
    "teacher": "teacher",
    "dbnas": "DBNAS",
    "denoising_student": "Denoising Student",
    "act": "ACT",
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


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `{name}.png` and `{name}.pdf`, the same bytes for the same figure."""
    for suffix in FIGURE_FORMATS:
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            figure.savefig(
                temporary, format=suffix, dpi=DPI, metadata=METADATA[suffix], bbox_inches="tight"
            )
    figure.clear()
