"""Trainings one of whose keys, the label, moves the defaults of the others: `preset`, or `task`.

Keys that are given win over the label's, group by group.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import model_validator

from slimgen.config.base import Training, Variants, deep_merge, difference


class Labelled(Training):
    """A training with a label; `MOVES` says what each value of it moves.

    The first value is that of the class defaults.
    """

    LABEL: ClassVar[str] = "preset"
    MOVES: ClassVar[dict[str, dict[str, Any]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _start_from_label(cls, values: Any) -> Any:
        """Lay the given keys over the label's; a stage ignores what it lacks of these."""
        label = values.get(cls.LABEL, next(iter(cls.MOVES))) if isinstance(values, dict) else None
        if label not in tuple(cls.MOVES):  # the field's own check names what is allowed
            return values
        moved = {key: value for key, value in cls.MOVES[label].items() if key in cls.model_fields}
        return deep_merge(moved, values)

    def labelled(self) -> dict[str, Any]:
        """Return the label alone, as settings."""
        return {self.LABEL: getattr(self, self.LABEL)}

    def changes(self) -> dict[str, Any]:
        """Return the label, where it is not the first, and what differs from its defaults."""
        label = self.labelled()
        moved = type(self).model_validate(label).model_dump(mode="json", by_alias=True)
        said = label if label[self.LABEL] != next(iter(self.MOVES)) else {}
        return said | difference(self.model_dump(mode="json", by_alias=True), moved)


class LabelledVariants(Labelled, Variants):
    """Variants of which each may have a label of its own."""

    def merged(self, name: str) -> dict[str, Any]:
        """Return what the common settings say beyond their label, and the variant over it."""
        moved = self.settings_type().model_validate(self.labelled())
        common = difference(self.model_dump(exclude={"variants"}), moved.model_dump())
        return deep_merge(self.labelled() | common, self.variants[name])
