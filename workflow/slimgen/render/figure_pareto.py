"""Figures of quality against cost: the Pareto plot of a run, and quality against evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from slimgen.render.results import TEACHER, Results
from slimgen.render.style import COLOURS, MARKERS, NAMES, WIDTH
from slimgen.render.table_summary import Point, points, total_macs

OFFSETS = (
    (5, 5),
    (5, -11),
    (-5, 5),
    (-5, -11),
    (9, -3),
    (-9, -3),
    (0, 10),
    (0, -16),
    (16, 14),
    (-16, 14),
)


@dataclass(frozen=True)
class Dot:
    """One model at one setting: its costs by axis, its quality and spread over seeds."""

    point: Point
    label: str
    q: float
    sd: float
    costs: dict[str, float]


AXES = {
    "params": "parameters",
    "macs": "MACs of a sample",
    "nfe": "network evaluations of a sample",
    "milliseconds": "milliseconds of a sample",
}


def dots(results: Results) -> list[Dot]:
    """Return every measured model at every setting."""
    found = []
    for point in points(results, every=True):
        key = (point.system, point.row)
        q = results.number(*key, "q", point.setting)
        params, macs = results.number(*key, "params"), total_macs(results, point)
        speed = results.number(*key, "images_per_second", point.setting)
        if q is None or params is None or macs is None or speed is None:
            continue
        costs = {
            "params": params.mean,
            "macs": macs.mean,
            "nfe": float(results.nfe(*key, point.setting)),
            "milliseconds": 1000 / speed.mean,
        }
        found.append(Dot(point, point.name, q.mean, q.sd or 0.0, costs))
    return found


def frontier(found: Sequence[Dot], axis: str) -> list[Dot]:
    """Return the dots that no other beats in both cost and q, cheapest first."""
    best: list[Dot] = []
    for dot in sorted(found, key=lambda dot: (dot.costs[axis], dot.q)):
        if not best or dot.q < best[-1].q:
            best.append(dot)
    return best


def place_labels(ax: Axes, found: Sequence[Dot], every: Sequence[Dot], axis: str) -> None:
    """Write labels beside dots, each at the first offset that overlaps no label and no dot."""
    figure = ax.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    marks = [ax.transData.transform((dot.costs[axis], dot.q)) for dot in every]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in marks]
    frame = ax.get_window_extent(renderer)
    for dot in found:
        placed, least = None, float("inf")
        for dx, dy in OFFSETS:
            align = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = ax.annotate(
                dot.label,
                (dot.costs[axis], dot.q),
                (dx, dy),
                textcoords="offset points",
                ha=align,
                fontsize=6,
                color=COLOURS[dot.point.system],
                zorder=6,
            )
            box = text.get_window_extent(renderer)
            outside = (
                box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            )
            clashes = sum(box.overlaps(other) for other in taken) + 3 * outside
            if clashes >= least:
                text.remove()
                continue
            if placed is not None:
                placed.remove()
            placed, least = text, clashes
            if clashes == 0:
                break
        if placed is not None and least == 0:
            taken.append(placed.get_window_extent(renderer))
        elif placed is not None:
            placed.remove()  # the markers and the legend still tell what it is


def draw(ax: Axes, found: Sequence[Dot], axis: str, marks: dict[str, str]) -> None:
    """Draw one panel: every model, and the line of those that none beats."""
    for dot in found:
        ax.errorbar(
            dot.costs[axis],
            dot.q,
            yerr=dot.sd or None,
            fmt=marks[row_key(dot.point)],
            markersize=5,
            color=COLOURS[dot.point.system],
            markeredgecolor="white",
            markeredgewidth=0.5,
            elinewidth=0.8,
            zorder=4,
        )
    best = frontier(found, axis)
    ax.step(
        [dot.costs[axis] for dot in best],
        [dot.q for dot in best],
        where="post",
        color="0.6",
        lw=0.9,
    )
    values = [dot.costs[axis] for dot in found]
    if max(values) > 3 * min(values):
        ax.set_xscale("log")
    if min(dot.q for dot in found) > 0:
        ax.set_yscale("log")
    ax.set(xlabel=AXES[axis], ylabel="q (0 floor, 1 Gaussian)")
    ax.grid(alpha=0.4, which="both")
    ax.margins(0.12)


def row_key(point: Point) -> str:
    """Return the name of a model without its setting."""
    return f"{point.system}/{point.row}"


def pareto_figure(results: Results) -> Figure:
    """Draw q against parameters, MACs, evaluations and time of a sample, all models of the run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = dots(results)
    rows = list(dict.fromkeys(row_key(dot.point) for dot in found))
    marks: dict[str, str] = {}
    for system in COLOURS:
        mine = [row for row in rows if row.startswith(f"{system}/")]
        marks |= {row: MARKERS[i % len(MARKERS)] for i, row in enumerate(mine)}
    figure = Figure(figsize=(WIDTH * 1.15, 6.4))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    for ax, axis in zip(axes.flat, AXES, strict=True):
        draw(ax, found, axis, marks)
    handles = []
    for row in rows:
        system, name = row.split("/", 1)
        text = NAMES[system] if system == TEACHER else f"{NAMES[system]}: {name}"
        handles.append(
            Line2D(
                [],
                [],
                marker=marks[row],
                color=COLOURS[system],
                linestyle="",
                markersize=5,
                label=text,
            )
        )
    figure.tight_layout()
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4)
    for ax, axis in zip(axes.flat, AXES, strict=True):
        place_labels(ax, frontier(found, axis), found, axis)
    return figure


def nfe_figure(results: Results) -> Figure:
    """Draw q against evaluations: DDIM of teacher and searched nets, and the one-step students."""
    found = [dot for dot in dots(results) if dot.point.setting.startswith("ddim-")]
    students = [dot for dot in dots(results) if dot.point.system == "denoising_student"]
    figure = Figure(figsize=(WIDTH * 0.72, 3.0))
    ax = figure.subplots()
    models = list(dict.fromkeys(row_key(dot.point) for dot in found))
    for index, model in enumerate(models):
        mine = sorted((d for d in found if row_key(d.point) == model), key=lambda d: d.costs["nfe"])
        system, row = model.split("/", 1)
        ax.errorbar(
            [dot.costs["nfe"] for dot in mine],
            [dot.q for dot in mine],
            yerr=[dot.sd for dot in mine],
            marker=MARKERS[index],
            color=COLOURS[system],
            alpha=1.0 if index < 2 else 0.6,
            markersize=4,
            linewidth=1.2,
            label="DDIM of the teacher" if system == TEACHER else f"DDIM of {row}",
        )
    for index, dot in enumerate(students):
        ax.errorbar(
            dot.costs["nfe"],
            dot.q,
            yerr=dot.sd,
            fmt=MARKERS[index + 2],
            color=COLOURS["denoising_student"],
            markeredgecolor="black",
            markeredgewidth=0.5,
            markersize=7,
            label=f"student of {dot.point.row}",
            zorder=5,
        )
    every = [*found, *students]
    if every and min(dot.q for dot in every) > 0:
        ax.set_yscale("log")
    ax.set_xscale("log")
    ticks = sorted({int(dot.costs["nfe"]) for dot in every})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="network evaluations of a sample", ylabel="q (0 floor, 1 Gaussian)")
    ax.grid(alpha=0.4)
    ax.legend()
    return figure
