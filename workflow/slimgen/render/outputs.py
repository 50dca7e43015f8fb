"""Which tables and figures each page of the results has. The Snakefile reads it: no imports.

A table is written as `tables/{name}.csv`, `.md`, `.tex`, a figure as `figures/{name}.png`, `.pdf`.
A page is what one call of `python -m slimgen render.PAGE` draws.
"""

from __future__ import annotations

TABLE_FORMATS: tuple[str, ...] = ("csv", "md", "tex")
FIGURE_FORMATS: tuple[str, ...] = ("png", "pdf")

TABLES: dict[str, tuple[str, ...]] = {
    "dbnas": ("dbnas",),
    "denoising_student": ("denoising_student",),
    "act": ("act",),
    "autogan": ("autogan",),
    "gan_compression": ("gan_compression",),
    "summary": ("summary", "claims"),
}

FIGURES: dict[str, tuple[str, ...]] = {
    "dbnas": ("dbnas_samples", "dbnas_curves", "dbnas_search", "dbnas_architectures"),
    "denoising_student": (
        "denoising_student_samples",
        "denoising_student_curves",
        "denoising_student_nfe",
        "denoising_student_interpolation",
    ),
    "act": ("act_samples", "act_curves"),
    "autogan": (
        "autogan_samples",
        "autogan_curves",
        "autogan_search",
        "autogan_correlation",
        "autogan_architectures",
    ),
    "gan_compression": (
        "gan_compression_samples",
        "gan_compression_curves",
        "gan_compression_search",
        "gan_compression_widths",
    ),
    "summary": ("pareto", "time"),
}
