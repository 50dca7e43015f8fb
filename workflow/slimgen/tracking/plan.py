"""What a run consists of, read off its config: jobs, their folders, the pages of the results.

Snakemake owns the graph; this list serves what looks at a run from outside: `status`, and the
pages, which read many jobs' files at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from slimgen.config.names import SYSTEMS, model_rows
from slimgen.config.run import Config, stage_settings

MORE_FILES = {"act": ("cost.json",), "denoising_student": ("interpolation.png",)}
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
        stage = "evaluation" if self.stage == "evaluation.measure" else self.stage.replace(".", "/")
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


def reports_by_classifier(config: Config) -> bool:
    """Return whether a classifier that the run trains gives the features, and not Inception."""
    reference = stage_settings(config, "evaluation.reference", config.dataset)
    return reference.features == "classifier"  # type: ignore[attr-defined]


def planned_jobs(config: Config) -> list[PlannedJob]:
    """Return every job of a run but its pages, in the order in which they can run."""
    dataset = config.dataset
    jobs = [PlannedJob("data.prepare", dataset)]
    if reports_by_classifier(config):
        jobs.append(PlannedJob("classifier.train", dataset, 0))
    jobs.append(PlannedJob("evaluation.reference", dataset))
    for seed in config.seeds:
        stages = {"teacher.train": [dataset], **_variants(config)}
        jobs += [PlannedJob(stage, name, seed) for stage, names in stages.items() for name in names]
    for seed in config.seeds:
        for system, rows in model_rows(config).items():
            jobs += [PlannedJob("evaluation.measure", f"{system}/{row}", seed) for row in rows]
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
    return stages


def pages(config: Config) -> list[str]:
    """Return the pages of the results: one per system of the run, and the summary."""
    return [*(system for system in SYSTEMS if getattr(config, system) is not None), "summary"]


def page_systems(config: Config, page: str) -> dict[str, list[str]]:
    """Return the systems and rows that a page shows."""
    rows = model_rows(config)
    if page == "summary":
        return rows
    return {"teacher": rows["teacher"], page: rows[page]}


def page_settings(config: Config, page: str) -> str:
    """Return the settings of a page as the string that Snakemake tracks."""
    systems = page_systems(config, page)
    tables = config.tables.model_dump(mode="json")
    settings = {
        "run": config.run,
        "dataset": config.dataset,
        "seeds": list(config.seeds),
        "systems": systems,
        "tables": {name: rows for name, rows in tables.items() if name in systems},
    }
    return json.dumps(settings, sort_keys=True)


def page_files(config: Config, page: str) -> list[str]:
    """Return the text files and small images that a page reads, relative to `results/{run}`."""
    systems = page_systems(config, page)
    files = [f"evaluation/reference/{config.dataset}/records.json"]
    for seed in config.seeds:
        for system, rows in systems.items():
            for row in rows:
                files += _row_files(system, row, seed)
        if "dbnas" in systems:
            for name in _variants(config)["dbnas.supernet"]:
                files.append(f"{PlannedJob('dbnas.supernet', name, seed).folder}/log.jsonl")
            for name in _variants(config)["dbnas.search"]:
                folder = PlannedJob("dbnas.search", name, seed).folder
                names = ("arch.json", "candidates.csv", "settings.json")
                files += [f"{folder}/{file}" for file in names]
    return files


def _row_files(system: str, row: str, seed: int) -> list[str]:
    stage = "teacher.train" if system == "teacher" else f"{system}.student"
    trained = PlannedJob(stage, row, seed).folder
    measured = PlannedJob("evaluation.measure", f"{system}/{row}", seed).folder
    return [
        *(f"{measured}/{file}" for file in ("records.json", "samples.png")),
        *(f"{trained}/{file}" for file in ("log.jsonl", "settings.json")),
        *(f"{trained}/{file}" for file in MORE_FILES.get(system, ())),
    ]
