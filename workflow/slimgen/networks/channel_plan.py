"""Which layer's channels a width vector decides: a plan as a value, without weights.

A group is a set of channels that can only be narrowed together (a conv's outputs, whatever is added
to them, everything that reads them). An entry of the width vector decides one or more groups. A
channel axis is a row of runs, each a group's channels or channels of fixed number, so that inputs
concatenated from several tensors are covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slimgen.networks.elastic import Kept

Widths = Sequence[int]  # one integer per entry


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are narrowed together."""

    entry: int  # index of the width vector's entry that decides
    channels: int  # at full width
    unit: int  # channels per 1 of the entry
    multiple: int  # kept channels come in multiples of this (channels of a norm's or conv's group)
    producers: tuple[str, ...]  # the layers whose outputs they are


@dataclass(frozen=True)
class Run:
    """Consecutive channels of an axis: those of a group (its index), or fixed ones (None)."""

    channels: int
    group: int | None = None


Axis = tuple[Run, ...]


@dataclass(frozen=True)
class LayerAxes:
    """A layer's input and output channels."""

    inputs: Axis
    outputs: Axis


@dataclass(frozen=True)
class ChannelPlan:
    """What every entry of a width vector does to a network."""

    entries: tuple[str, ...]
    full: tuple[int, ...]  # the width vector of the whole network
    groups: tuple[ChannelGroup, ...]
    layers: Mapping[str, LayerAxes]  # path -> axes, of every layer that changes
    attributes: Mapping[str, tuple[str, Axis]] = field(default_factory=dict)  # asserted widths
    taps: Mapping[str, Axis] = field(default_factory=dict)  # path -> channels of its output

    def check(self, widths: Widths) -> None:
        """Raise ValueError naming the entry of `widths` that cannot be."""
        if len(widths) != len(self.entries):
            raise ValueError(
                f"{len(widths)} widths, {len(self.entries)} are needed: {', '.join(self.entries)}"
            )
        for name, width, full in zip(self.entries, widths, self.full, strict=True):
            if not 0 < width <= full:
                raise ValueError(f"width {width} of {name}: it lies between 1 and {full}")
        for group in self.groups:
            name, width = self.entries[group.entry], widths[group.entry]
            if width * group.unit % group.multiple:
                raise ValueError(
                    f"width {width} of {name} makes {width * group.unit} channels at "
                    f"{group.producers[0]}: they come in multiples of {group.multiple}, the "
                    "channels of one normalisation or convolution group"
                )

    def kept(self, axis: Axis, widths: Widths) -> Kept:
        """Return the runs that `widths` keep of an axis."""
        return tuple((run.channels, self._count(run, widths)) for run in axis)

    def _count(self, run: Run, widths: Widths) -> int:
        if run.group is None:
            return run.channels
        group = self.groups[run.group]
        return widths[group.entry] * group.unit

    @property
    def smallest(self) -> tuple[int, ...]:
        """Return the narrowest widths that keep every group's multiple."""
        result = []
        for index, full in enumerate(self.full):
            groups = [group for group in self.groups if group.entry == index]
            fits = (
                width
                for width in range(1, full + 1)
                if all(width * group.unit % group.multiple == 0 for group in groups)
            )
            result.append(next(fits))
        return tuple(result)
