"""What a page is told: run, data set, seeds, rows of every system, rows of the tables."""

from __future__ import annotations

import json

from pydantic import Field, ValidationError

from slimgen.config.base import Settings
from slimgen.config.run import explain
from slimgen.training.job import StageError


class RenderSettings(Settings):
    """The settings of `render.PAGE`, the same for every page.

    `systems` maps a system to its rows (models that are measured), `tables` a table to the rows
    that it shows; a table that is not named shows every row. `datasets` maps `system/row` to the
    data set that it is compared with, where that is not the run's.
    """

    run: str
    dataset: str
    seeds: tuple[int, ...] = Field(min_length=1)
    systems: dict[str, tuple[str, ...]]
    datasets: dict[str, str] = Field(default_factory=dict)
    tables: dict[str, tuple[str, ...] | None] = Field(default_factory=dict)

    def dataset_of(self, system: str, row: str) -> str:
        """Return the data set that a row is compared with."""
        return self.datasets.get(f"{system}/{row}", self.dataset)

    def has_own_data(self, system: str, row: str) -> bool:
        """Return whether a row is compared with the run's own data set."""
        return self.dataset_of(system, row) == self.dataset

    def rows(self, system: str) -> tuple[str, ...]:
        """Return the rows of a system in the order of its table, without the teacher's own row."""
        every = self.systems.get(system, ())
        chosen = self.tables.get(system)
        return every if chosen is None else tuple(row for row in chosen if row in every)


def parse_render_settings(text: str) -> RenderSettings:
    """Read the JSON of `--settings`.

    Raises StageError with one line per fault.
    """
    try:
        return RenderSettings.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise StageError(f"render: settings are not JSON: {error}") from None
    except ValidationError as error:
        raise StageError("\n".join(explain(error, prefix="render"))) from None
