"""The tables and figures of a page: `python -m slimgen render.PAGE --settings --results --out`.

Everything comes from text files and small images in the results folder; no model is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from slimgen.render.claims import claims_table
from slimgen.render.figure_autogan import architectures_figure as autogan_architectures_figure
from slimgen.render.figure_autogan import correlation_figure
from slimgen.render.figure_autogan import search_figure as autogan_search_figure
from slimgen.render.figure_curves import (
    act_panels,
    autogan_panels,
    curves_figure,
    dbnas_panels,
    denoising_student_panels,
)
from slimgen.render.figure_gan_compression import curve_panels as translation_panels
from slimgen.render.figure_gan_compression import samples_figure as translations_figure
from slimgen.render.figure_gan_compression import search_figure as widths_search_figure
from slimgen.render.figure_gan_compression import widths_figure
from slimgen.render.figure_images import (
    interpolation_figure,
    interpolation_panels,
    sample_panels,
    samples_figure,
)
from slimgen.render.figure_pareto import nfe_figure, pareto_figure
from slimgen.render.figure_search import architectures_figure, search_figure
from slimgen.render.figure_time import time_figure
from slimgen.render.outputs import FIGURES, TABLES
from slimgen.render.results import TEACHER, Results
from slimgen.render.settings import parse_render_settings
from slimgen.render.style import save_figure, use_style
from slimgen.render.table import Table, write_table
from slimgen.render.table_act import act_table
from slimgen.render.table_autogan import autogan_table
from slimgen.render.table_dbnas import dbnas_table
from slimgen.render.table_denoising_student import denoising_student_table
from slimgen.render.table_gan_compression import gan_compression_table
from slimgen.render.table_summary import summary_table
from slimgen.training.job import StageError

MAKE_TABLE: Mapping[str, Callable[[Results], Table]] = {
    "dbnas": dbnas_table,
    "denoising_student": denoising_student_table,
    "act": act_table,
    "autogan": autogan_table,
    "gan_compression": gan_compression_table,
    "summary": summary_table,
    "claims": claims_table,
}

MAKE_FIGURE: Mapping[str, Callable[[Results], Figure]] = {
    "dbnas_samples": lambda results: samples_figure(sample_panels(results, (TEACHER, "dbnas"))),
    "dbnas_curves": lambda results: curves_figure(dbnas_panels(results)),
    "dbnas_search": search_figure,
    "dbnas_architectures": architectures_figure,
    "denoising_student_samples": lambda results: samples_figure(
        sample_panels(results, (TEACHER, "denoising_student"))
    ),
    "denoising_student_curves": lambda results: curves_figure(denoising_student_panels(results)),
    "denoising_student_nfe": nfe_figure,
    "denoising_student_interpolation": lambda results: interpolation_figure(
        interpolation_panels(results)
    ),
    "act_samples": lambda results: samples_figure(sample_panels(results, ("act",))),
    "act_curves": lambda results: curves_figure(act_panels(results)),
    "autogan_samples": lambda results: samples_figure(sample_panels(results, ("autogan",))),
    "autogan_curves": lambda results: curves_figure(autogan_panels(results)),
    "autogan_search": autogan_search_figure,
    "autogan_correlation": correlation_figure,
    "autogan_architectures": autogan_architectures_figure,
    "gan_compression_samples": translations_figure,
    "gan_compression_curves": lambda results: curves_figure(translation_panels(results)),
    "gan_compression_search": widths_search_figure,
    "gan_compression_widths": widths_figure,
    "pareto": pareto_figure,
    "time": time_figure,
}


def render(page: str, settings: str, results: Path, out: Path) -> None:
    """Write the tables and figures of a page into `out/tables` and `out/figures`.

    Args:
        page: a key of TABLES, such as "dbnas".
        settings: JSON text of RenderSettings.
        results: the results folder of the run.
        out: folder that receives `tables/` and `figures/`.

    Raises:
        StageError: one line naming the missing or malformed file.
    """
    if page not in TABLES:
        raise StageError(f"render.{page}: no such page; pages are {', '.join(TABLES)}")
    source = Results(results, parse_render_settings(settings))
    for name in TABLES[page]:
        write_table(MAKE_TABLE[name](source), out / "tables")
    use_style()
    for name in FIGURES[page]:
        save_figure(MAKE_FIGURE[name](source), out / "figures", name)
