"""Reading GAN Compression's rows: tasks by data set, who compresses whom, searches, exports.

Every task has a data set of its own, so floor and protocol of a row are those of its task
(`Task.results`); no number of one stands beside those of another without the data set's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimgen.config.rows import PREFIXES, made_by
from slimgen.render.number import Number
from slimgen.render.results import Results, read_object
from slimgen.training.job import StageError

SYSTEM = "gan_compression"
PREFIX_OF = {stage: prefix for prefix, stage in PREFIXES[SYSTEM].items()}


@dataclass(frozen=True)
class Task:
    """One data set of pairs and the rows that translate it."""

    dataset: str
    results: Results  # with the data set's own floor and protocol, and no other system
    rows: tuple[str, ...]

    def settings(self, row: str) -> dict[str, Any]:
        """Return the settings that a row was trained with."""
        return self.results.stage_settings(*made_by(SYSTEM, row))

    @property
    def kind(self) -> str:
        """Return paired, unpaired or semantic."""
        return str(self.settings(self.rows[0]).get("task", ""))

    @property
    def teacher(self) -> str | None:
        """Return the row of the first full teacher, or None where none is measured."""
        return next((row for row in self.rows if stage_of(row) == "teacher"), None)

    def teacher_of(self, row: str) -> str | None:
        """Return the full teacher from which a row descends; None for the teacher itself."""
        stage = stage_of(row)
        while stage not in ("teacher", "mobile_teacher"):
            origin, variant = str(self.settings(row)["teacher"]).split("/", 1)
            row = PREFIX_OF[origin] + variant
            if row not in self.rows:
                return self.teacher
            if origin == "teacher":
                return row
            stage = origin
        return self.teacher if stage == "mobile_teacher" else None

    def students(self, search: str | None = None, **wanted: Any) -> list[str]:
        """Return the rows made by the stage `student` with these settings, by a search if named."""
        found = []
        for row in self.rows:
            if stage_of(row) != "student":
                continue
            settings = self.settings(row)
            same = all(settings[key] == value for key, value in wanted.items())
            if same and search in (None, search_of(settings)):
                found.append(row)
        return found

    @property
    def compressed(self) -> str | None:
        """Return the row of the paper's own method: searched, from the supernet, distilled."""
        rows = self.students(
            arch="searched", begin="supernet", distill=True, pseudo_pairs=True, widths=None
        )
        searched = [row for row in rows if self.method(row) not in (None, "random")]
        return searched[0] if searched else None

    def method(self, row: str) -> str | None:
        """Return the method of the search behind a student; None where there is none."""
        search = search_of(self.settings(row))
        if search is None:
            return None
        return str(self.results.stage_settings(f"{SYSTEM}.search", search)["method"])

    def number(self, row: str, metric: str) -> Number | None:
        """Return a metric of a row over the seeds, or None where it has none."""
        return self.results.number(SYSTEM, row, metric)

    def fewer_macs(self, row: str) -> Number | None:
        """Return how many times fewer MACs than its full teacher a row needs, None for itself."""
        teacher = self.teacher_of(row)
        if teacher is None:
            return None
        ours, theirs = self.number(row, "macs"), self.number(teacher, "macs")
        return theirs.over(ours) if ours and theirs else None


def stage_of(row: str) -> str:
    """Return the stage that made a row: teacher, mobile_teacher, pretrain, student."""
    return made_by(SYSTEM, row)[0].split(".")[1]


def search_of(settings: dict[str, Any]) -> str | None:
    """Return the search whose widths a student of these settings has."""
    return None if settings.get("widths") is not None else settings.get("search")


def tasks(results: Results) -> list[Task]:
    """Return the tasks of the run, in the order of the rows."""
    settings = results.settings
    datasets = dict.fromkeys(settings.dataset_of(SYSTEM, row) for row in settings.rows(SYSTEM))
    found = []
    for dataset in datasets:
        there = results.on(dataset)
        rows = there.settings.rows(SYSTEM)
        own = there.settings.model_copy(update={"systems": {SYSTEM: rows}})
        found.append(Task(dataset, Results(there.root, own, there.seen), rows))
    return found


def searches(results: Results) -> dict[str, str]:
    """Return search -> data set of every search behind the rows, in the order of the table."""
    return {
        search: task.dataset
        for task in tasks(results)
        for row in task.students()
        if (search := search_of(task.settings(row))) is not None
    }


def supernets(results: Results) -> tuple[str, ...]:
    """Return the supernets that those searches looked into."""
    stage = f"{SYSTEM}.search"
    return tuple(
        dict.fromkeys(results.stage_settings(stage, name)["supernet"] for name in searches(results))
    )


def read_found(results: Results, search: str, seed: int) -> dict[str, Any]:
    """Return the arch.json of a search.

    Raises StageError naming the file where what the pages read is missing.
    """
    content = results.arch(search, seed, SYSTEM)
    needed = ("widths", "entries", "options", "criterion", "score", "macs", "budget")
    for key in (*needed, "teacher_macs"):
        if key not in content:
            path = results.folder(f"{SYSTEM}.search", search, seed) / "arch.json"
            raise StageError(f"{path}: no {key!r} in it")
    return content


def exported(results: Results, row: str) -> Sequence[dict[str, Any]] | None:
    """Return the export.json of a row, one per seed; None where it is not exported."""
    paths = [
        results.folder(f"{SYSTEM}.export", row, seed) / "export.json"
        for seed in results.settings.seeds
    ]
    if stage_of(row) != "student" or not all(path.is_file() for path in paths):
        return None
    return [read_object(path) for path in paths]
