"""Widths and the groups of a GroupNorm; for the check of a config and for the layers themselves."""

from __future__ import annotations


def whole_groups(fraction: float, groups: int) -> int:
    """Return how many of the groups of a GroupNorm are a fraction of its channels.

    Raises ValueError where these are not one or more whole groups.
    """
    count = round(fraction * groups)
    if count < 1 or abs(count - fraction * groups) > 1e-6:
        raise ValueError(
            f"{fraction:g} of {groups} groups of channels are not one or more whole groups"
        )
    return count
