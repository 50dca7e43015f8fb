"""Figures of GAN Compression: translations, curves, the cloud of a search, chosen widths, Pareto.

All show the run's first seed, but for the Pareto panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from slimgen.config.rows import made_by
from slimgen.render.figure_curves import Panel, per_row
from slimgen.render.figure_images import read_image
from slimgen.render.front import pareto_front
from slimgen.render.gan_compression import (
    SYSTEM,
    Task,
    read_found,
    searches,
    stage_of,
    supernets,
    tasks,
)
from slimgen.render.results import Results
from slimgen.render.style import MARKERS, WIDTH, line_colours, use_log
from slimgen.training.job import StageError

COLUMNS = 3
LESS_IS_BETTER = {"fid": True, "accuracy": False, "psnr": False}
CRITERIA = {"fid": "Fréchet distance, search split", "accuracy": "accuracy", "psnr": "PSNR (dB)"}


@dataclass(frozen=True)
class Cloud:
    """What a search scored: every candidate, the budget, criterion and choice.

    No budget where there was none, or it counts by another rule than the candidates' MACs.
    """

    points: tuple[tuple[float, float], ...]  # (MACs, score)
    chosen: tuple[float, float]
    budget: float | None
    criterion: str


def cloud(results: Results, search: str, seed: int) -> Cloud:
    """Return the candidates of a search.

    Raises StageError naming the file where they are no numbers.
    """
    found = read_found(results, search, seed)
    path = results.folder(f"{SYSTEM}.search", search, seed) / "candidates.csv"
    try:
        points = tuple(
            (float(line["macs"]), float(line["score"]))
            for line in results.candidates(search, seed, SYSTEM)
        )
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None
    return Cloud(
        points,
        (float(found["macs"]), float(found["score"])),
        found["budget"] if found.get("budget_rule", "exact") == "exact" else None,
        found["criterion"],
    )


def front(found: Cloud) -> list[tuple[float, float]]:
    """Return the candidates that no other beats in both MACs and score, cheapest first."""
    sign = 1 if LESS_IS_BETTER[found.criterion] else -1
    return pareto_front(found.points, cost=itemgetter(0), loss=lambda point: sign * point[1])


def samples_figure(results: Results) -> Figure:
    """Draw input, teacher, compressed and target of every task: the same place, the same item."""
    found = tasks(results)
    seed, side = results.settings.seeds[0], WIDTH * 1.1 / 4
    figure = Figure(figsize=(4 * side, (side + 0.42) * len(found)))
    axes = figure.subplots(len(found), 4, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for line, task in zip(axes, found, strict=True):
        shown = task.teacher or task.rows[0]
        compressed = task.compressed or next(iter(task.students()), None)
        folder = results.measured(SYSTEM, shown, seed)
        panels = [(f"{task.dataset}: input", folder / "inputs.png")]
        panels.append((shown, folder / "samples.png"))
        if compressed is not None:
            path = results.measured(SYSTEM, compressed, seed) / "samples.png"
            panels.append((f"{compressed}{times(task, compressed)}", path))
        relation = "target" if task.number(shown, "psnr") else "others of the target's kind"
        panels.append((relation, folder / "targets.png"))
        for ax, (title, path) in zip(line, panels, strict=False):
            ax.imshow(read_image(path), interpolation="nearest")
            ax.set_title(title, fontsize=8, pad=3)
    figure.subplots_adjust(wspace=0.06, hspace=0.2, left=0, right=1, top=0.94, bottom=0)
    return figure


def times(task: Task, row: str) -> str:
    """Return how many times fewer MACs a row needs, in brackets; "" where that is not known."""
    ratio = task.fewer_macs(row)
    return f" ({ratio.mean:.1f} times fewer MACs)" if ratio else ""


def curve_panels(results: Results) -> list[Panel]:
    """Return the losses of teachers, supernets and students."""
    rows: dict[str, list[str]] = {}
    for row in results.settings.rows(SYSTEM):
        stage, variant = made_by(SYSTEM, row)
        rows.setdefault(stage, []).append(variant)
    rows[f"{SYSTEM}.supernet"] = list(supernets(results))
    panels = []
    for stage, variants in rows.items():
        name = stage.split(".")[1].replace("_", " ")
        for metric, words, log in (
            ("loss_gan", "adversarial loss", False),
            ("loss_recon", "reconstruction loss", True),
            ("loss_cycle", "cycle loss", True),
            ("loss_feature", "feature matching", True),
            ("loss_distill", "distillation loss", True),
            ("loss_d", "discriminator loss", False),
            ("loss_d_targets", "discriminator of targets", False),
        ):
            lines = per_row(results, stage, variants, metric)
            own = Panel(f"{name}: {words}", lines, log=log, own_legend=True)
            panels += [own] if lines else []
    return panels


def search_figure(results: Results) -> Figure:
    """Draw score against MACs of every candidate of every search, budget, front and choice."""
    found = searches(results)
    figure, axes = grid(len(found), height=2.5)
    seed = results.settings.seeds[0]
    for ax, (search, dataset) in zip(axes, found.items(), strict=True):
        draw_cloud(ax, cloud(results, search, seed))
        ax.set_title(f"{search} ({dataset})")
    entries = {  # of every panel: a search without a budget has no line of it
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.tight_layout()
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(entries),
    )
    return figure


def draw_cloud(ax: Axes, found: Cloud) -> None:
    """Draw one search."""
    x, y = zip(*found.points, strict=True)
    ax.scatter(x, y, s=7, color="0.72", linewidths=0, label="candidates", rasterized=len(x) > 300)
    best = front(found)
    macs, scores = zip(*best, strict=True)
    ax.step(macs, scores, where="post", color="0.3", lw=0.9, label="front")
    if found.budget is not None:
        ax.axvline(found.budget, color="C3", lw=1.0, ls=(0, (4, 2)), label="budget")
    ax.scatter(
        [found.chosen[0]],
        [found.chosen[1]],
        s=60,
        marker="*",
        color="C0",
        edgecolors="white",
        linewidths=0.5,
        label="chosen",
        zorder=4,
    )
    ax.set(xlabel="MACs", ylabel=CRITERIA[found.criterion])
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(alpha=0.4)


def widths_figure(results: Results) -> Figure:
    """Draw the chosen width of every entry inside of the widest that the search could take."""
    found = searches(results)
    figure, axes = grid(len(found), height=2.4)
    seed = results.settings.seeds[0]
    for ax, (search, dataset) in zip(axes, found.items(), strict=True):
        arch = read_found(results, search, seed)
        draw_widths(ax, arch)
        share = arch["macs"] / arch["teacher_macs"]
        ax.set_title(f"{search} ({dataset}): {share:.1%} of the MACs", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3)
    return figure


def draw_widths(ax: Axes, arch: dict[str, Any]) -> None:
    """Draw one architecture: a bar per entry, the widest option pale, all options as marks."""
    entries, widths, options = arch["entries"], arch["widths"], arch["options"]
    at = range(len(entries))
    widest = [max(choices) for choices in options]
    ax.bar(at, widest, width=0.8, color="0.88", edgecolor="0.6", lw=0.5, label="widest")
    ax.bar(at, widths, width=0.8, color="C0", label="chosen")
    marks = [
        (entry, width) for entry, choices in zip(at, options, strict=True) for width in choices
    ]
    x, y = zip(*marks, strict=True)
    ax.scatter(x, y, s=4, color="0.35", label="options", zorder=3)
    for entry, width in zip(at, widths, strict=True):
        ax.annotate(str(width), (entry, width), (0, 2), textcoords="offset points", ha="center")
    ax.set_xticks(list(at), entries, rotation=60, ha="right", fontsize=7)
    ax.set_ylabel("width")


def grid(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, at most three beside each other.

    Raises StageError for none.
    """
    if count == 0:
        raise StageError(f"render.{SYSTEM}: the run has no search to draw")
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(WIDTH * 1.1 * max(columns, 2) / COLUMNS, height * lines))
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.flat[count:]:
        ax.axis("off")
    return figure, list(axes.flat[:count])


def draw_translators(axes: Sequence[Axes], found: Sequence[Task]) -> None:
    """Draw q against MACs of every generator, one panel per data set."""
    for ax, task in zip(axes, found, strict=True):
        values: list[float] = []
        for index, (row, colour) in enumerate(
            zip(task.rows, line_colours(len(task.rows)), strict=True)
        ):
            q, macs = task.number(row, "q"), task.number(row, "macs")
            if q is None or macs is None:
                continue
            values.append(macs.mean)
            ax.errorbar(
                macs.mean,
                q.mean,
                yerr=q.sd or None,
                fmt=MARKERS[index % len(MARKERS)],
                color="0.2" if stage_of(row) == "teacher" else colour,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.5,
                elinewidth=0.8,
                label=row,
            )
        if max(values) > 3 * min(values):
            use_log(ax, "x", values)
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.set(xlabel="MACs of an image", ylabel="q", title=f"translation: {task.dataset}")
        ax.grid(alpha=0.4)
        ax.margins(x=0.15, y=0.2)
        # Below the panel: among a dozen points there is no free place inside.
        ax.legend(fontsize=5.5, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3)
