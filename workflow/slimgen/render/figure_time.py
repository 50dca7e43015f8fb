"""Where the time goes: wall seconds of training, and of sampling and scoring, of every model."""

from __future__ import annotations

from matplotlib.figure import Figure

from slimgen.config.rows import made_by
from slimgen.render.architecture import spaces
from slimgen.render.autogan import searches as autogan_searches
from slimgen.render.gan_compression import supernets
from slimgen.render.number import Number
from slimgen.render.results import TEACHER, Results, setting_of
from slimgen.render.style import COLOURS, NAMES, WIDTH

Bar = tuple[str, str, float, float]  # system, label, seconds of training, seconds of measuring


def training_seconds(results: Results, stage: str, variant: str) -> float:
    """Return the wall seconds of a training, mean over seeds; 0 where nothing was trained."""
    values = []
    for seed in results.settings.seeds:
        lines = results.log(stage, variant, seed)
        values.append(float(lines[-1]["seconds"]) if lines else 0.0)
    return Number(tuple(values)).mean


def measuring_seconds(results: Results, system: str, row: str) -> float:
    """Return the wall seconds that measuring a model took, mean over seeds.

    The records of one sampler name the same seconds: those of measuring it.
    """
    values = []
    for seed in results.settings.seeds:
        seconds: dict[str, float] = {}
        for record in results.records(system, row, seed):
            key = setting_of(record)
            seconds[key] = max(seconds.get(key, 0.0), record.seconds)
        values.append(sum(seconds.values()))
    return Number(tuple(values)).mean


def bars(results: Results) -> list[Bar]:
    """Return the seconds of every model of the run, in the order of the tables."""
    found = []
    for system in (TEACHER, *(s for s in COLOURS if s != TEACHER)):
        rows = results.settings.systems.get(system, ())
        for space in spaces(results) if system == "dbnas" and rows else ():
            trained = training_seconds(results, "dbnas.supernet", space)
            found.append((system, f"{NAMES[system]}: supernet {space}", trained, 0.0))
        for name in autogan_searches(results) if system == "autogan" and rows else ():
            trained = training_seconds(results, "autogan.search", name)
            found.append((system, f"{NAMES[system]}: search {name}", trained, 0.0))
        for name in supernets(results) if system == "gan_compression" and rows else ():
            trained = training_seconds(results, "gan_compression.supernet", name)
            found.append((system, f"{NAMES[system]}: supernet {name}", trained, 0.0))
        for row in rows:
            label = TEACHER if system == TEACHER else f"{NAMES[system]}: {row}"
            trained = training_seconds(results, *made_by(system, row))
            found.append((system, label, trained, measuring_seconds(results, system, row)))
    return found


def time_figure(results: Results) -> Figure:
    """Draw one bar per model: training, then measuring (pale)."""
    found = bars(results)
    figure = Figure(figsize=(WIDTH * 0.9, 0.24 * len(found) + 0.9))
    ax = figure.subplots()
    longest = max(trained + measured for _, _, trained, measured in found)
    for at, (system, _, trained, measured) in enumerate(found):
        ax.barh(-at, trained, color=COLOURS[system], height=0.7)
        ax.barh(-at, measured, left=trained, color=COLOURS[system], alpha=0.35, height=0.7)
        text = f"{trained:,.0f} + {measured:,.0f} s"
        ax.text(trained + measured + 0.01 * longest, -at, text, va="center", fontsize=7)
    ax.set_yticks([-at for at in range(len(found))], [label for _, label, _, _ in found])
    ax.set(
        xlabel="seconds: training + measuring (pale), mean over seeds",
        xlim=(0, 1.18 * longest),
        ylim=(0.6 - len(found), 0.6),
    )
    ax.tick_params(axis="y", length=0)
    return figure
