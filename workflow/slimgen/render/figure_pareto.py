"""Figures of quality against cost: the Pareto plot of a run, and quality against evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox

from slimgen.render.figure_gan_compression import draw_translators
from slimgen.render.front import pareto_front
from slimgen.render.gan_compression import tasks
from slimgen.render.results import TEACHER, Results
from slimgen.render.style import COLOURS, MARKERS, NAMES, WIDTH, use_log
from slimgen.render.table_summary import Point, points, total_macs

# Where a label may stand, in points from its dot: near places first, then above and below.
OFFSETS = (
    *((4, 4), (4, -16), (-4, 4), (-4, -16), (8, -5), (-8, -5)),
    *((side, step) for step in (14, -26, 24, -36, 34, -46) for side in (4, -4, 14, -14)),
)


@dataclass(frozen=True)
class Dot:
    """One model at one setting: its costs by axis, its quality and spread over seeds."""

    point: Point
    label: str
    q: float
    sd: float
    costs: dict[str, float]


QUALITY = "q (0 floor, 1 Gaussian)"
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
    return pareto_front(found, cost=lambda dot: dot.costs[axis], loss=lambda dot: dot.q)


def place_labels(ax: Axes, found: Sequence[Dot], every: Sequence[Dot], axis: str) -> None:
    """Write labels beside dots, each at the first offset that overlaps no label and no dot."""
    figure = ax.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    marks = [ax.transData.transform((dot.costs[axis], dot.q)) for dot in every]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in marks]
    frame = ax.get_window_extent(renderer)
    for dot in found:
        placed, least = None, float("inf")
        for dx, dy in OFFSETS:
            text = ax.annotate(
                dot.label.replace(", ", "\n"),
                (dot.costs[axis], dot.q),
                (dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right",
                fontsize=6,
                linespacing=0.95,
                color=COLOURS[dot.point.system],
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "0.5"}
                if dy in (14, 24, 34) or dy < -16
                else None,
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
        use_log(ax, "x", values)
    if axis in ("params", "macs"):
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    use_log(ax, "y", [dot.q for dot in found])
    ax.set(xlabel=AXES[axis], ylabel=QUALITY)
    ax.grid(alpha=0.4)
    ax.margins(x=0.12, y=0.2)


def row_key(point: Point) -> str:
    """Return the name of a model without its setting."""
    return f"{point.system}/{point.row}"


def pareto_figure(results: Results) -> Figure:
    """Draw q against parameters, MACs, evaluations and time of a sample, all models of the run.

    Image-to-image generators stand in panels of their own, one per data set.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = dots(results)
    rows = list(dict.fromkeys(row_key(dot.point) for dot in found))
    marks: dict[str, str] = {}
    for system in COLOURS:
        mine = [row for row in rows if row.startswith(f"{system}/")]
        marks |= {row: MARKERS[i % len(MARKERS)] for i, row in enumerate(mine)}
    others = tasks(results)
    top = 2 if found else 0  # a run of image-to-image generators alone has no panel of others
    lines = top + -(-len(others) // 2)
    figure = Figure(figsize=(WIDTH * 1.15, 3.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(lines, 2, squeeze=False)
    panels = list(zip(every[:top].flat, AXES, strict=bool(found)))
    for ax, axis in panels:
        draw(ax, found, axis, marks)
    draw_translators(list(every.flat[2 * top : 2 * top + len(others)]), others)
    for ax in every.flat[2 * top + len(others) :]:
        ax.axis("off")
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
    figure.draw_without_rendering()  # the labels need the panels' places
    if handles:
        figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4)
    for ax, axis in panels:
        place_labels(ax, frontier(found, axis), found, axis)
    return figure


def nfe_figure(results: Results) -> Figure:
    """Draw q against evaluations: DDIM of teacher and searched nets, and the one-step students."""
    every = dots(results)
    ddim: dict[str, list[Dot]] = {}
    for dot in every:
        if dot.point.setting.startswith("ddim-"):
            ddim.setdefault(row_key(dot.point), []).append(dot)
    lines = {key: found for key, found in ddim.items() if len(found) > 1}
    students = [dot for dot in every if dot.point.system == "denoising_student"]
    figure = Figure(figsize=(WIDTH * 0.62, 3.0))
    ax = figure.subplots()
    for index, found in enumerate(lines.values()):
        found.sort(key=lambda dot: dot.costs["nfe"])
        point = found[0].point
        ax.errorbar(
            [dot.costs["nfe"] for dot in found],
            [dot.q for dot in found],
            yerr=[dot.sd for dot in found],
            marker=MARKERS[index],
            color=COLOURS[point.system],
            markersize=4,
            linewidth=1.2,
            label=f"DDIM of {TEACHER if point.system == TEACHER else point.row}",
        )
    for index, dot in enumerate(students, start=len(lines)):
        ax.errorbar(
            dot.costs["nfe"],
            dot.q,
            yerr=dot.sd,
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS["denoising_student"],
            markeredgecolor="black",
            markeredgewidth=0.5,
            markersize=7,
            label=f"student of {dot.point.row}",
            zorder=5,
        )
    shown = [dot for found in (*lines.values(), students) for dot in found]
    use_log(ax, "y", [dot.q for dot in shown])
    ticks = sorted({int(dot.costs["nfe"]) for dot in shown})
    use_log(ax, "x", ticks)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set(xlabel=AXES["nfe"], ylabel=QUALITY)
    ax.grid(alpha=0.4)
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure
