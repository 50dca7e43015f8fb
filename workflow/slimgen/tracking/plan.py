"""What a run consists of, read off its config: jobs, their folders, the pages of the results.

Snakemake owns the graph; this list serves what looks at a run from outside: `status`, and the
pages, which read many jobs' files at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgen.config.gan_compression import rewarded
from slimgen.config.rows import GANS, SYSTEMS, datasets, made_by, model_rows, row_dataset
from slimgen.config.run import Config, stage_settings

# What pages read beyond log, settings, records and samples
TRAINED = {
    "act.student": ("cost.json",),
    "autogan.student": ("selection.json",),
    "denoising_student.student": ("interpolation.png",),
}
MEASURED = {"gan_compression": ("inputs.png", "targets.png")}
SEARCHED = ("arch.json", "candidates.csv", "settings.json")
REWARD_SEED = 1
SHARED = ("data", "classifier", "teacher", "evaluation")


@dataclass(frozen=True)
class PlannedJob:
    """One job of a run; `folder` is relative to `results/{run}` and to `runs/{run}`."""

    stage: str
    variant: str
    seed: int | None = None

    @property
    def folder(self) -> Path:
        """Folder of outputs and of state."""
        measured = self.stage in ("evaluation.measure", "evaluation.translate")
        stage = "evaluation" if measured else self.stage.replace(".", "/")
        folder = Path(stage, self.variant)
        return folder if self.seed is None else folder / f"seed{self.seed}"

    @property
    def name(self) -> str:
        """Name for people: `dbnas.search S1 seed 0`."""
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.stage} {self.variant}{seed}"


def stage_module(stage: str) -> str:
    """Return the full module name of a stage: `dbnas.search` -> slimgen.systems.dbnas.search.

    Every page, `render.dbnas`, is made by one module.
    """
    system = stage.split(".")[0]
    if system == "render":
        return "slimgen.render.command"
    room = "slimgen.systems.shared" if system in SHARED else "slimgen.systems"
    return f"{room}.{stage}"


def reporting_classifier(config: Config, dataset: str) -> str | None:
    """Return the variant of classifier.train that gives a data set's features; None: Inception."""
    reference: Any = stage_settings(config, "evaluation.reference", dataset)
    return (reference.classifier or dataset) if reference.features == "classifier" else None


def classifiers(config: Config) -> dict[str, int]:
    """Return every classifier that a run trains, and its seed: one ruler for all seeds.

    Those that report have seed 0, those that reward a search another one.
    """
    reporting = [reporting_classifier(config, dataset) for dataset in datasets(config)]
    found = {name: 0 for name in reporting if name is not None}
    if config.autogan is not None:
        for group in (config.autogan.search, config.autogan.student):
            settings: list[Any] = [group.variant(name) for name in group.variants]
            found |= {one.reward: REWARD_SEED for one in settings}
    if config.gan_compression is not None:
        looks = config.gan_compression.search
        searches: list[Any] = [looks.variant(name) for name in looks.variants]
        found |= {one.reward: REWARD_SEED for one in searches if rewarded(one)}
    return found


def classifier_dataset(config: Config, variant: str) -> str:
    """Return the data set that a classifier is trained on."""
    settings: Any = stage_settings(config, "classifier.train", variant)
    return settings.dataset or variant


def measurement(system: str) -> str:
    """Return the stage that measures a system's models."""
    return "evaluation." + ("translate" if system == "gan_compression" else "measure")


def planned_jobs(config: Config) -> list[PlannedJob]:
    """Return every job of a run but its pages, in the order in which they can run."""
    used, trained = datasets(config), classifiers(config)
    prepared = dict.fromkeys([*used, *(classifier_dataset(config, name) for name in trained)])
    jobs = [PlannedJob("data.prepare", name) for name in prepared]
    jobs += [PlannedJob("classifier.train", name, seed) for name, seed in trained.items()]
    jobs += [PlannedJob("evaluation.reference", name) for name in used]
    rows = model_rows(config)
    for seed in config.seeds:
        stages = {"teacher.train": rows.get("teacher", []), **_variants(config)}
        jobs += [PlannedJob(stage, name, seed) for stage, names in stages.items() for name in names]
    for seed in config.seeds:
        for system, names in rows.items():
            jobs += [PlannedJob(measurement(system), f"{system}/{row}", seed) for row in names]
    return jobs


def _variants(config: Config) -> dict[str, list[str]]:
    """Return the variants of the systems' stages, without those that nobody uses."""
    stages: dict[str, list[str]] = {}
    if config.dbnas is not None:
        search = config.dbnas.search
        used = {search.variant(name).supernet for name in search.variants}  # type: ignore[attr-defined]
        stages["dbnas.supernet"] = [name for name in config.dbnas.supernet.variants if name in used]
        stages["dbnas.search"] = list(search.variants)
        stages["dbnas.student"] = list(config.dbnas.student.variants)
    if config.denoising_student is not None:
        students = list(config.denoising_student.student.variants)
        stages["denoising_student.pairs"] = students
        stages["denoising_student.student"] = students
    if config.act is not None:
        stages["act.student"] = list(config.act.student.variants)
    for section in ("autogan", "gan_compression"):
        group = getattr(config, section)
        for name in type(group).model_fields if group is not None else ():
            stages[f"{section}.{name}"] = list(getattr(group, name).variants)
    if config.gan_compression is not None:
        compression = config.gan_compression
        looked_into = {compression.search.variant(n).supernet for n in compression.search.variants}  # type: ignore[attr-defined]
        stages["gan_compression.supernet"] = [
            name for name in compression.supernet.variants if name in looked_into
        ]
    return stages


def pages(config: Config) -> list[str]:
    """Return the pages of the results: one per system of the run, and the summary."""
    return [*(system for system in SYSTEMS if getattr(config, system) is not None), "summary"]


def page_systems(config: Config, page: str) -> dict[str, list[str]]:
    """Return the systems and rows that a page shows."""
    rows = model_rows(config)
    if page == "summary":
        return rows
    if page in GANS:
        return {page: rows[page]}
    return {"teacher": rows["teacher"], page: rows[page]}


def page_settings(config: Config, page: str) -> str:
    """Return the settings of a page as the string that Snakemake tracks."""
    systems = page_systems(config, page)
    tables = config.tables.model_dump(mode="json")
    others = {
        f"{system}/{row}": row_dataset(config, system, row)
        for system, rows in systems.items()
        for row in rows
    }
    settings = {
        "run": config.run,
        "dataset": config.dataset,
        "seeds": list(config.seeds),
        "systems": systems,
        "datasets": {row: name for row, name in others.items() if name != config.dataset},
        "tables": {name: rows for name, rows in tables.items() if name in systems},
    }
    return json.dumps(settings, sort_keys=True)


def page_files(config: Config, page: str) -> list[str]:
    """Return the text files and small images that a page reads, relative to `results/{run}`."""
    systems = page_systems(config, page)
    compared = {config.dataset} | {
        row_dataset(config, system, row) for system, rows in systems.items() for row in rows
    }
    files = [
        f"evaluation/reference/{name}/records.json" for name in datasets(config) if name in compared
    ]
    for seed in config.seeds:
        for system, rows in systems.items():
            for row in rows:
                files += _row_files(system, row, seed)
        if "dbnas" in systems:
            for name in _variants(config)["dbnas.supernet"]:
                files.append(f"{PlannedJob('dbnas.supernet', name, seed).folder}/log.jsonl")
        if "gan_compression" in systems:
            for name in _variants(config)["gan_compression.supernet"]:
                folder = PlannedJob("gan_compression.supernet", name, seed).folder
                files += [f"{folder}/{file}" for file in ("log.jsonl", "settings.json")]
        for system in systems:
            for name in _variants(config).get(f"{system}.search", ()):
                folder = PlannedJob(f"{system}.search", name, seed).folder
                files += [f"{folder}/{file}" for file in SEARCHED]
            for name in _variants(config).get(f"{system}.export", ()):
                folder = PlannedJob(f"{system}.export", name, seed).folder
                files.append(f"{folder}/export.json")
    return files


def _row_files(system: str, row: str, seed: int) -> list[str]:
    stage, variant = made_by(system, row)
    trained = PlannedJob(stage, variant, seed).folder
    measured = PlannedJob(measurement(system), f"{system}/{row}", seed).folder
    return [
        *(f"{measured}/{file}" for file in ("records.json", "samples.png")),
        *(f"{trained}/{file}" for file in ("log.jsonl", "settings.json")),
        *(f"{measured}/{file}" for file in MEASURED.get(system, ())),
        *(f"{trained}/{file}" for file in TRAINED.get(stage, ())),
    ]
