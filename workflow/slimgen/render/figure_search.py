"""Figures of a search: the cloud of candidates of every block, and the found architectures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from slimgen.render.architecture import BASE, read_arch, searches, spaces, width_shares
from slimgen.render.results import Results
from slimgen.render.style import MARKERS, WIDTH, line_colours, use_log
from slimgen.training.job import StageError

COLUMNS = 3
KERNEL_COLOURS = {1: "#cfe3f3", 3: "#f2f2f2", 5: "#f7c98b", 7: "#e08a6d"}
OTHER_KERNEL = "#d8c6e8"
CLOUD_COLOURS = ("0.72", "#f0d2a8", "#cfe6cf", "#e6cfe3")  # one per search space


def cloud(results: Results, found: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Return block -> (MACs relative to the base, loss relative to the base) of every candidate.

    The candidates are those of the search that scored most of them.
    """
    seed = results.settings.seeds[0]
    tables = [results.candidates(search, seed) for search in found]
    largest = max(tables, key=len)
    base = {row["block"]: float(row["macs"]) for row in largest if row["base"] == "1"}
    points: dict[str, list[tuple[float, float]]] = {}
    for row in largest:
        point = (float(row["macs"]) / base[row["block"]], float(row["relative_loss"]))
        points.setdefault(row["block"], []).append(point)
    return points


def chosen(results: Results, search: str) -> dict[str, tuple[float, float]]:
    """Return block -> the point that a search chose, relative to the base."""
    seed = results.settings.seeds[0]
    rows = results.candidates(search, seed)
    base = {row["block"]: float(row["macs"]) for row in rows if row["base"] == "1"}
    return {
        row["block"]: (float(row["macs"]) / base[row["block"]], float(row["relative_loss"]))
        for row in rows
        if row["chosen"] == "1"
    }


def search_figure(results: Results) -> Figure:
    """Draw loss against MACs of every candidate, one panel per block, with r-lines and choices."""
    found = searches(results)
    if not found:
        raise StageError("render.dbnas: the run has no search to draw")
    clouds = {
        space: cloud(results, [name for name in found if space_of(results, name) == space])
        for space in spaces(results)
    }
    points = next(iter(clouds.values()))
    picks = {search: chosen(results, search) for search in found}
    columns = min(COLUMNS, len(points))
    lines = -(-len(points) // columns)
    figure = Figure(figsize=(WIDTH * 1.1 * columns / COLUMNS, 2.2 * lines))
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.flat[len(points) :]:
        ax.axis("off")
    for ax, block in zip(axes.flat, points, strict=False):
        draw_block(ax, results, block, {name: mine[block] for name, mine in clouds.items()}, picks)
    for ax in axes[:, 0]:
        ax.set_ylabel("loss / base loss")
    for at in range(len(points)):
        if at + columns >= len(points):
            axes.flat[at].set_xlabel("searchable MACs / base")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4)
    return figure


def space_of(results: Results, search: str) -> str:
    """Return the supernet that a search looked into."""
    return str(results.stage_settings("dbnas.search", search)["supernet"])


def draw_block(
    ax: Axes,
    results: Results,
    block: str,
    clouds: dict[str, list[tuple[float, float]]],
    picks: dict[str, dict[str, tuple[float, float]]],
) -> None:
    """Draw one block: the candidates of every search space, and what each search chose."""
    for order, (space, candidates) in enumerate(clouds.items()):
        x, y = zip(*candidates, strict=True)
        ax.scatter(
            x,
            y,
            s=7,
            color=CLOUD_COLOURS[order % len(CLOUD_COLOURS)],
            linewidths=0,
            label="candidates" if len(clouds) == 1 else f"candidates: {space}",
            rasterized=len(x) > 300,
            zorder=1 - 0.1 * order,
        )
    ax.scatter([1], [1], s=46, marker="*", color="black", label="base", zorder=3)
    for index, (search, colour) in enumerate(zip(picks, line_colours(len(picks)), strict=True)):
        settings = results.stage_settings("dbnas.search", search)
        name = search
        if settings["method"] == "local":
            ax.axhline(settings["r"], color=colour, linewidth=0.8, linestyle=(0, (4, 2)))
            name = f"{search} (r = {settings['r']:g}, dashed)"
        if block in picks[search]:
            macs, loss = picks[search][block]
            ax.scatter(
                [macs],
                [loss],
                s=64 - 10 * index,
                marker=MARKERS[index],
                facecolors="none",
                edgecolors=[colour],
                linewidths=1.4,
                label=name,
                zorder=4,
            )
    use_log(ax, "y", [loss for candidates in clouds.values() for _, loss in candidates])
    ax.set_title(block)
    ax.grid(alpha=0.4)


def architectures(results: Results) -> dict[str, dict[str, Any]]:
    """Return the base and every found architecture: kernels per block and relative cost."""
    found = searches(results)
    if not found:
        raise StageError("render.dbnas: the run has no search to draw")
    seed = results.settings.seeds[0]
    archs = {search: read_arch(results, search, seed) for search in found}
    first = next(iter(archs.values()))
    base = {block: [3] * len(kernels) for block, kernels in first["kernels"].items()}
    return {BASE: {"kernels": base, "relative_cost": 1.0, "cost": None}, **archs}


def architectures_figure(results: Results) -> Figure:
    """Draw one line of cells per architecture: the kernel size of every conv, block by block.

    The height of a cell is the inner width of its ResBlock.
    """
    archs = architectures(results)
    blocks = {name: len(kernels) for name, kernels in archs[BASE]["kernels"].items()}
    total = sum(blocks.values()) + 0.6 * (len(blocks) - 1)
    figure = Figure(figsize=(WIDTH * 1.15, 0.3 * len(archs) + 0.75))
    ax = figure.subplots()
    for line, (name, arch) in enumerate(archs.items()):
        x = 0.0
        for block in blocks:
            shares = width_shares(arch, block)
            for at, kernel in enumerate(arch["kernels"][block]):
                colour = KERNEL_COLOURS.get(kernel, OTHER_KERNEL)
                height = 0.86 * shares[at // 2]
                cell = (x, -line + 0.43 - height / 2)
                ax.add_patch(
                    Rectangle(cell, 0.94, height, facecolor=colour, edgecolor="0.6", lw=0.5)
                )
                ax.text(x + 0.47, -line + 0.43, str(kernel), ha="center", va="center", fontsize=7)
                x += 1
            x += 0.6
        unit = arch.get("cost") or "cost"
        share = (
            f"{100 * arch['relative_cost']:.0f} % of searchable {unit}" if name != BASE else "100 %"
        )
        ax.text(-0.4, -line + 0.43, name, ha="right", va="center", fontsize=8)
        ax.text(total + 0.3, -line + 0.43, share, ha="left", va="center", fontsize=8)
    x = 0.0
    for block, count in blocks.items():
        short = (
            block.replace("down_blocks.", "down ")
            .replace("up_blocks.", "up ")
            .replace("_block", "")
        )
        ax.text(x + count / 2, 1.05, short, ha="center", va="bottom", fontsize=8)
        x += count + 0.6
    ax.set(xlim=(-3.2, total + 8.5), ylim=(1 - len(archs) - 0.2, 2.0))
    ax.axis("off")
    return figure
