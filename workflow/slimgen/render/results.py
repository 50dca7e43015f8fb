"""Reading a run's results: records, logs, architectures, costs. One faulty file is one clear line.

Numbers of different protocols never share a column: `Results.number` refuses to put FIDs with
different feature networks or numbers of images under one name.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slimgen.config.rows import made_by
from slimgen.data.files import read_json
from slimgen.evaluation.record import (
    REPORT,
    SHOWN,
    Record,
    RecordError,
    find,
    metric_name,
    read_records,
)
from slimgen.render.number import Number
from slimgen.render.settings import RenderSettings
from slimgen.training.job import StageError

TEACHER = "teacher"
MEASURED = ("diffusion_pytorch_model.safetensors", "model.safetensors")  # digests are of these
CANDIDATE_COLUMNS = {
    "dbnas": {"block", "arch", "relative_loss", "macs", "chosen", "base"},
    "autogan": {"step", "stage", "kind", "code", "inception_score", "kept"},
    "gan_compression": {"widths", "macs", "score"},
}
BY_FEATURES = ("fid", "inception_score", "kid", "precision", "recall")


def setting_of(record: Record) -> str:
    """Return how the images were made, as `ddim-50`; "" where a record is not about images."""
    return record.sampler or ""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; StageError naming the file where there is none."""
    if not path.is_file():
        raise StageError(f"{path} does not exist")
    try:
        content = read_json(path)
    except ValueError as error:
        raise StageError(str(error)) from None
    if not isinstance(content, dict):
        raise StageError(f"{path}: not a JSON object")
    return content


def read_measured(path: Path) -> list[Record]:
    """Read a records.json; StageError naming the file where it is missing or malformed."""
    if not path.is_file():
        raise StageError(f"{path} does not exist")
    try:
        return read_records(path)
    except RecordError as error:
        raise StageError(str(error)) from None


def check_pointer(model: Path, records: list[Record], path: Path) -> None:
    """Compare the records' model digest with the .dvc pointer beside the model, where there is one.

    Raises StageError naming both files where they differ.
    """
    for pointer in filter(Path.exists, (model / f"{name}.dvc" for name in MEASURED)):
        try:
            stored = yaml.safe_load(pointer.read_text())["outs"][0]["md5"]
            if not isinstance(stored, str) or len(stored) != 32:  # half written
                raise ValueError(stored)
        except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
            raise StageError(
                f"{pointer}: not a DVC pointer with an md5; `git checkout -- {pointer}` mends it"
            ) from None
        for record in records:
            if record.model_md5 not in (None, stored):
                raise StageError(
                    f"{path} measured a model with md5 {record.model_md5}, "
                    f"but {pointer} names {stored}"
                )


@dataclass(frozen=True)
class Results:
    """The results folder of one run and the rows, seeds and data set that are asked for."""

    root: Path
    settings: RenderSettings
    seen: dict[Path, list[Record]] = field(default_factory=dict, repr=False, compare=False)

    def on(self, dataset: str) -> Results:
        """Return the results of the rows that are compared with one data set.

        Floor, Gaussian fit, features and protocol are those of that data set, so that numbers of
        different data sets cannot share a table by accident.
        """
        settings = self.settings
        systems = {
            system: tuple(row for row in rows if settings.dataset_of(system, row) == dataset)
            for system, rows in settings.systems.items()
        }
        others = {f"{s}/{row}": dataset for s, rows in systems.items() for row in rows}
        changes = {"dataset": dataset, "systems": systems, "datasets": others}
        return Results(self.root, settings.model_copy(update=changes), self.seen)

    def folder(self, stage: str, variant: str, seed: int) -> Path:
        """Return the output folder of a stage such as "dbnas.search"."""
        system, name = stage.split(".")
        return self.root / system / name / variant / f"seed{seed}"

    def measured(self, system: str, row: str, seed: int) -> Path:
        """Return the folder with records.json and samples.png of one model."""
        return self.root / "evaluation" / system / row / f"seed{seed}"

    def records(self, system: str, row: str, seed: int | None = None) -> list[Record]:
        """Return the records of one model and one seed (the first where none is named)."""
        seed = self.settings.seeds[0] if seed is None else seed
        path = self.measured(system, row, seed) / "records.json"
        if path in self.seen:
            return self.seen[path]
        records = self.seen[path] = read_measured(path)
        check_pointer(self.folder(*made_by(system, row), seed), records, path)
        return records

    def number(
        self, system: str, row: str, metric: str, setting: str | None = None
    ) -> Number | None:
        """Return a metric over the seeds, or None where no seed has it.

        `setting` None is for what has no sampler (params and the like). Raises StageError where
        only some seeds have the metric, or where models were measured by different protocols.
        """
        name, values, missing = self.named(metric), [], []
        for seed in self.settings.seeds:
            path = self.measured(system, row, seed) / "records.json"
            for record in self.records(system, row, seed):
                if record.metric == name and setting in (None, setting_of(record)):
                    self._same_protocol(record, path)
                    values.append(record.value)
                    break
            else:
                missing.append(path)
        if values and missing:
            raise StageError(f"{missing[0]}: no {name} {setting or ''}, though another seed has it")
        return Number(tuple(values)) if values else None

    def settings_of(self, system: str, row: str) -> tuple[str, ...]:
        """Return the samplers and NFEs at which a model's FID was measured, in the file's order."""
        name = self.named("fid")
        found = (setting_of(r) for r in self.records(system, row) if r.metric == name)
        return tuple(dict.fromkeys(found))

    def nfe(self, system: str, row: str, setting: str) -> int:
        """Return the network evaluations per image of one setting of a model."""
        for record in self.records(system, row):
            if setting_of(record) == setting and record.nfe is not None:
                return record.nfe
        path = self.measured(system, row, self.settings.seeds[0]) / "records.json"
        raise StageError(f"{path}: no nfe at {setting}")

    def shown(self, system: str, row: str) -> str | None:
        """Return the setting that samples.png shows."""
        found = (setting_of(r) for r in self.records(system, row) if r.note and SHOWN in r.note)
        return next(found, None)

    def log(self, stage: str, variant: str, seed: int) -> list[dict[str, Any]]:
        """Return the metric lines of a log.jsonl."""
        path = self.folder(stage, variant, seed) / "log.jsonl"
        if not path.is_file():
            raise StageError(f"{path} does not exist")
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
        except json.JSONDecodeError as error:
            raise StageError(f"{path}: not valid JSON lines ({error})") from None
        return [line for line in lines if "event" not in line]

    def stage_settings(self, stage: str, variant: str) -> dict[str, Any]:
        """Return the settings that a stage ran with (the same for every seed)."""
        path = self.folder(stage, variant, self.settings.seeds[0]) / "settings.json"
        settings = read_object(path).get("settings")
        if not isinstance(settings, dict):
            raise StageError(f"{path}: no settings in it")
        return settings

    def arch(self, variant: str, seed: int, system: str = "dbnas") -> dict[str, Any]:
        """Return the arch.json of a search."""
        return read_object(self.folder(f"{system}.search", variant, seed) / "arch.json")

    def candidates(self, variant: str, seed: int, system: str = "dbnas") -> list[dict[str, str]]:
        """Return the rows of a search's candidates.csv."""
        path = self.folder(f"{system}.search", variant, seed) / "candidates.csv"
        if not path.is_file():
            raise StageError(f"{path} does not exist")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        needed = CANDIDATE_COLUMNS[system]
        if not rows or not needed <= set(rows[0]):
            raise StageError(f"{path}: needs rows with the columns {', '.join(sorted(needed))}")
        return rows

    @property
    def reference_path(self) -> Path:
        """The records of the data set itself: floor, Gaussian fit, the report split's own IS."""
        return self.root / "evaluation" / "reference" / self.settings.dataset / "records.json"

    def reference(self, metric: str, sampler: str | None = None) -> Record:
        """Return one record about the data set."""
        path = self.reference_path
        if path not in self.seen:
            self.seen[path] = read_measured(path)
        try:
            return find(self.seen[path], self.named(metric), sampler)
        except RecordError as error:
            raise StageError(f"{self.reference_path}: {error}") from None

    @property
    def floor(self) -> Record:
        """FID of the train split against the report split."""
        return self.reference("floor")

    @property
    def gauss(self) -> Record:
        """FID of the pixel-space Gaussian fitted to train."""
        return self.reference("fid_gauss")

    @property
    def report_score(self) -> Record:
        """Inception Score of the report split itself."""
        return self.reference("inception_score", REPORT)

    @property
    def own_accuracy(self) -> float | None:
        """Share of the report split that the classifier names rightly; None without labels."""
        self.reference("floor")  # the file is read and sound
        records = self.seen[self.reference_path]
        return next((r.value for r in records if r.metric == "classifier_accuracy"), None)

    @property
    def features(self) -> str:
        """The feature network of the run, `classifier` or `inception`."""
        floor = self.reference("floor")
        if floor.features is None:
            raise StageError(f"{self.reference_path}: the record of floor names no features")
        return floor.features

    def named(self, metric: str) -> str:
        """Return the name under which the run records a metric that depends on features."""
        return metric_name(metric, self.features) if metric in BY_FEATURES else metric

    @property
    def num_images(self) -> int | None:
        """Generated images behind every number of the run."""
        system, rows = next((s, r) for s, r in self.settings.systems.items() if r)
        name = self.named("fid")
        return next((r.num_images for r in self.records(system, rows[0]) if r.metric == name), None)

    def _same_protocol(self, record: Record, path: Path) -> None:
        if record.metric != self.named("fid"):
            return
        floor = self.floor
        ours = (record.num_images, record.features, record.features_sha256, record.resize)
        if ours != (self.num_images, floor.features, floor.features_sha256, floor.resize):
            raise StageError(
                f"{path}: {record.metric} of {record.num_images} images cannot share a column with "
                f"{self.num_images} images and the reference: another protocol "
                f"({record.features}, {record.resize}; {floor.features}, {floor.resize})"
            )
