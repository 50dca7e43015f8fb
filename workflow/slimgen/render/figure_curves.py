"""Training curves from log.jsonl: losses of teacher, supernet, students; the schedules of ACT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slimgen.render.architecture import spaces
from slimgen.render.autogan import searches, student_rows
from slimgen.render.results import TEACHER, Results
from slimgen.render.style import COLOURS, WIDTH, line_colours, use_log

PANEL_HEIGHT = 2.1
COLUMNS = 3


@dataclass(frozen=True)
class Line:
    """One metric of one job over steps."""

    label: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    colour: Any


@dataclass(frozen=True)
class Panel:
    """Lines that share an axis; `own_legend` where they are not the rows of the figure's legend."""

    title: str
    lines: tuple[Line, ...]
    log: bool = False
    own_legend: bool = False


def line(
    results: Results, stage: str, variant: str, metric: str, *, label: str, colour: Any
) -> Line | None:
    """Return a metric of a job of the run's first seed; None where it was never logged."""
    entries = results.log(stage, variant, results.settings.seeds[0])
    found = [(entry["step"], entry[metric]) for entry in entries if metric in entry]
    if not found:
        return None
    steps, values = zip(*found, strict=True)
    return Line(label, steps, values, colour)


def per_row(results: Results, stage: str, rows: Sequence[str], metric: str) -> tuple[Line, ...]:
    """Return one line per row that logged the metric; a row keeps its colour in every panel."""
    colours = line_colours(len(rows))
    lines = (
        line(results, stage, row, metric, label=row, colour=colour)
        for row, colour in zip(rows, colours, strict=True)
    )
    return tuple(found for found in lines if found is not None)


def teacher_panel(results: Results) -> Panel:
    """Return the teacher's loss."""
    found = line(
        results,
        "teacher.train",
        results.settings.dataset,
        "loss",
        label=TEACHER,
        colour=COLOURS[TEACHER],
    )
    return Panel("teacher: loss", (found,) if found else (), log=True, own_legend=True)


def dbnas_panels(results: Results) -> list[Panel]:
    """Return the curves of DBNAS: teacher, the supernet's blocks, the students' two losses."""
    rows = results.settings.rows("dbnas")
    return [
        teacher_panel(results),
        *supernet_panels(results),
        Panel("students: L_dis", per_row(results, "dbnas.student", rows, "l_dis"), log=True),
        Panel("students: L_ori", per_row(results, "dbnas.student", rows, "l_ori"), log=True),
        Panel("students: beta", per_row(results, "dbnas.student", rows, "beta")),
    ]


def supernet_panels(results: Results) -> list[Panel]:
    """Return one panel per supernet of the run: the loss of each block."""
    panels = []
    for space in spaces(results):
        entries = results.log("dbnas.supernet", space, results.settings.seeds[0])
        names = [name for name in entries[0] if name.startswith("loss/")] if entries else []
        lines = [
            line(results, "dbnas.supernet", space, name, label=name[5:], colour=colour)
            for name, colour in zip(names, line_colours(len(names)), strict=True)
        ]
        found = tuple(entry for entry in lines if entry is not None)
        panels.append(Panel(f"supernet {space}: block losses", found, log=True, own_legend=True))
    return panels


def denoising_student_panels(results: Results) -> list[Panel]:
    """Return the curves of Denoising Student: teacher, loss on pairs, loss on held-out pairs."""
    rows = results.settings.rows("denoising_student")
    stage = "denoising_student.student"
    return [
        teacher_panel(results),
        Panel("students: loss on pairs", per_row(results, stage, rows, "loss"), log=True),
        Panel("students: held-out loss", per_row(results, stage, rows, "held_out_loss"), log=True),
    ]


def act_panels(results: Results) -> list[Panel]:
    """Return the curves of ACT: losses, lambda, N, mu, p and the R1 average that drives p."""
    rows = results.settings.rows("act")

    def panel(title: str, metric: str, *, log: bool = False) -> Panel:
        return Panel(title, per_row(results, "act.student", rows, metric), log=log)

    panels = [
        panel("consistency loss", "loss_ct", log=True),
        panel("adversarial loss", "loss_adv"),
        panel("discriminator loss", "loss_d"),
        panel("noise levels N(k)", "num_scales"),
        panel("EMA target mu(k)", "mu"),
        panel("adversarial weight lambda", "lambda"),
        panel("R1 average", "r1_average", log=True),
        panel("augmentation p", "augment_p"),
    ]
    return [found for found in panels if found.lines]


def autogan_panels(results: Results) -> list[Panel]:
    """Return the curves of AutoGAN: losses of the searches' shared GANs and of the derived ones."""
    found, rows = searches(results), student_rows(results)
    panels = [
        Panel("search: L_D", per_row(results, "autogan.search", found, "loss")),
        Panel("search: L_G", per_row(results, "autogan.search", found, "loss_g")),
        Panel("search: resets", per_row(results, "autogan.search", found, "resets")),
        Panel("derived: L_D", per_row(results, "autogan.student", rows, "loss")),
        Panel("derived: L_G", per_row(results, "autogan.student", rows, "loss_g")),
    ]
    return [found for found in panels if found.lines]


def draw(ax: Axes, panel: Panel) -> None:
    """Draw one panel."""
    for entry in panel.lines:
        ax.plot(entry.steps, entry.values, label=entry.label, color=entry.colour, linewidth=1.1)
    if panel.log:
        use_log(ax, "y", [value for entry in panel.lines for value in entry.values])
    ax.set(title=panel.title, xlabel="step")
    ax.grid(alpha=0.4)
    if panel.own_legend and len(panel.lines) > 1:
        bottom, top = ax.get_ylim()
        ax.set_ylim(bottom, top * 6 if panel.log else bottom + 1.5 * (top - bottom))
        ax.legend(fontsize=6, ncols=2, handlelength=1.2, columnspacing=0.8, loc="upper right")


def curves_figure(panels: Sequence[Panel]) -> Figure:
    """Draw the panels; one legend below names the rows that all but some panels share."""
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * 1.15 * columns / COLUMNS, PANEL_HEIGHT * lines))
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    rows: dict[str, Any] = {}
    for ax, panel in zip(axes.flat, panels, strict=False):
        draw(ax, panel)
        if not panel.own_legend:
            handles, labels = ax.get_legend_handles_labels()
            rows |= dict(zip(labels, handles, strict=True))
    figure.tight_layout()
    if rows:
        figure.legend(
            rows.values(), rows.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5
        )
    return figure
