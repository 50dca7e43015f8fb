"""Figures of AutoGAN: the search over its steps, searched against random candidates, the found
generators drawn cell by cell, and how far the shared weights' score foretells the derived one.
"""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from scipy.stats import spearmanr

from slimgen.render.autogan import (
    Derived,
    Reward,
    cells_of,
    chosen,
    rewards,
    searches,
    selection,
    student_rows,
)
from slimgen.render.results import Results
from slimgen.render.style import MARKERS, WIDTH, line_colours
from slimgen.training.job import StageError

NORM_COLOURS = {"none": "#f2f2f2", "bn": "#cfe3f3", "in": "#f7c98b"}


def found_searches(results: Results) -> tuple[str, ...]:
    """Return the searches of the run; StageError where it has none to draw."""
    found = searches(results)
    if not found:
        raise StageError("render.autogan: the run has no search to draw")
    return found


def growths(lines: list[Reward]) -> list[int]:
    """Return the steps at which the generator grew by a cell."""
    pairs = itertools.pairwise(lines)
    return [before.step for before, after in pairs if after.stage > before.stage]


def entropies(results: Results, search: str, seed: int) -> list[tuple[int, float]]:
    """Return step and entropy (nats) of the controller wherever they were logged."""
    lines = results.log("autogan.search", search, seed)
    return [(line["step"], line["entropy"]) for line in lines if "entropy" in line]


def search_figure(results: Results) -> Figure:
    """Draw rewards and entropy of every search, and the scores of what each ended with."""
    found, seed = found_searches(results), results.settings.seeds[0]
    figure = Figure(figsize=(WIDTH * 1.2, 2.6))
    left, middle, right = figure.subplots(1, 3)
    for search, colour in zip(found, line_colours(len(found)), strict=True):
        draw_rewards(left, search, rewards(results, search, seed), colour)
        entropy = entropies(results, search, seed)
        if entropy:
            middle.plot(*zip(*entropy, strict=True), color=colour, linewidth=1.1)
    last = {search: last_scores(rewards(results, search, seed)) for search in found}
    right.boxplot(list(last.values()), widths=0.5, medianprops={"color": "black"})
    right.set_xticks(range(1, len(found) + 1), found, rotation=30, ha="right")
    left.set(title="reward (running mean of 10)", xlabel="step", ylabel="IS, reward classifier")
    middle.set(title="entropy of the controller", xlabel="step", ylabel="nats")
    right.set(title="IS of the last stage's candidates")
    for ax in (left, middle, right):
        ax.grid(alpha=0.4)
    figure.tight_layout()
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5)
    return figure


def draw_rewards(ax: Axes, search: str, lines: list[Reward], colour: Any) -> None:
    """Draw a search's rewards, their running mean, and where the generator grew."""
    asked = [line for line in lines if line.kind == "controller"]
    steps, scores = [line.step for line in asked], [line.score for line in asked]
    means = [
        sum(scores[max(0, at - 9) : at + 1]) / len(scores[max(0, at - 9) : at + 1])
        for at in range(len(scores))
    ]
    ax.plot(steps, scores, ".", color=colour, markersize=1.5, alpha=0.35)
    ax.plot(steps, means, color=colour, linewidth=1.2, label=search)
    for step in growths(lines):
        ax.axvline(step, color=colour, linewidth=0.7, linestyle=(0, (2, 3)))


def last_scores(lines: list[Reward]) -> list[float]:
    """Return the scores of the candidates from which a search's last stage kept the best."""
    stage = max(line.stage for line in lines)
    drawn = [line.score for line in lines if line.stage == stage and line.kind == "beam"]
    return drawn or [line.score for line in lines if line.stage == stage]


def correlation_points(results: Results) -> list[Derived]:
    """Return the distinct derived networks of all searches whose shared-weight score is known.

    Searches that took the same steps (with dynamic reset and without, where no reset happened)
    derive the very same networks: seed, code and both scores agree. Such a network counts once, as
    chosen where any row chose it, else under the first row.
    """
    every = [
        item
        for row in student_rows(results)
        for seed in results.settings.seeds
        for item in selection(results, row, seed)
        if item.shared_score is not None
    ]
    distinct: dict[object, Derived] = {}
    for item in sorted(every, key=lambda item: not item.chosen):
        distinct.setdefault((item.seed, item.code, item.shared_score, item.score), item)
    return list(distinct.values())


def correlation_title(points: list[Derived]) -> str:
    """Return Spearman's rank correlation with its n; not for fewer than three points."""
    count = f"n = {len(points)} distinct"
    if len(points) < 3:
        return f"{count}: too few for a correlation"
    result = spearmanr([p.shared_score for p in points], [p.score for p in points])
    return f"Spearman rho = {result.statistic:.2f}, p = {result.pvalue:.2g}, {count}"


def correlation_figure(results: Results) -> Figure:
    """Draw the derived score against the shared-weight score of the same architecture."""
    points, rows = correlation_points(results), student_rows(results)
    figure = Figure(figsize=(WIDTH * 0.55, 2.9))
    ax = figure.subplots()
    for number, (row, colour) in enumerate(zip(rows, line_colours(len(rows)), strict=True)):
        own = [p for p in points if p.row == row]
        if not own:  # all of them stand under another row
            continue
        ax.scatter(
            [p.shared_score for p in own if p.shared_score is not None],
            [p.score for p in own],
            s=[46 if p.chosen else 20 for p in own],
            color=[colour],
            marker=MARKERS[number % len(MARKERS)],
            label=row,
        )
    ax.set(
        xlabel="IS under shared weights",
        ylabel="IS trained from scratch",
        title=correlation_title(points),
    )
    ax.grid(alpha=0.4)
    ax.legend(fontsize=7, title="searches, pooled", title_fontsize=7)
    figure.tight_layout()
    return figure


def architectures_figure(results: Results) -> Figure:
    """Draw the generator of every row cell by cell, with its shortcuts and skips."""
    rows, seed = student_rows(results), results.settings.seeds[0]
    if not rows:
        raise StageError("render.autogan: the run has no derived generator to draw")
    nets = {row: chosen(results, row, seed).code for row in rows}
    longest = max(len(cells_of(code)) for code in nets.values())
    figure = Figure(figsize=(WIDTH * 1.1, 1.05 * len(rows) + 0.3))
    ax = figure.subplots()
    for line, (row, code) in enumerate(nets.items()):
        draw_generator(ax, row, code, y=-1.25 * line)
    ax.set(xlim=(-2.6, 3.2 * longest + 1.9), ylim=(-1.25 * len(rows) + 0.35, 1.2))
    ax.axis("off")
    return figure


def draw_generator(ax: Axes, row: str, code: tuple[int, ...], *, y: float) -> None:
    """Draw one generator: a box per cell, an arc per shortcut and per skip."""
    ax.text(-1.0, y + 0.3, row, ha="right", va="center", fontsize=8)
    ax.text(-0.5, y + 0.3, "z", ha="center", va="center", fontsize=9, style="italic")
    end = -0.3
    for index, cell in enumerate(cells_of(code)):
        x = 3.2 * index
        arrow(ax, (end, y + 0.3), (x, y + 0.3))
        box = FancyBboxPatch(
            (x, y),
            2.6,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=NORM_COLOURS[cell.norm],
            edgecolor="0.4",
            linewidth=0.8,
        )
        ax.add_patch(box)
        text = f"{cell.up}, {cell.conv}\nnorm: {cell.norm}"
        ax.text(x + 1.3, y + 0.3, text, ha="center", va="center", fontsize=7, linespacing=1.1)
        if cell.shortcut:
            arrow(ax, (x - 0.1, y + 0.34), (x + 2.7, y + 0.34), bend=-0.25, style="--")
        for earlier in cell.skips:
            start = 3.2 * earlier + 1.3
            arrow(ax, (start, y), (x + 1.3, y), bend=0.22, colour="#c44e52")
        end = x + 2.6
    arrow(ax, (end, y + 0.3), (end + 0.5, y + 0.3))
    ax.text(end + 0.6, y + 0.3, "to rgb", ha="left", va="center", fontsize=8)


def arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    bend: float = 0.0,
    style: str = "-",
    colour: str = "0.3",
) -> None:
    """Draw an arrow, bent above (negative) or below its line."""
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=7,
            linestyle=style,
            color=colour,
            linewidth=0.9,
        )
    )
