"""The error of data that cannot be used."""

from __future__ import annotations


class DataError(ValueError):
    """A source cannot be read, fetched or split; the message is one clear line that names it."""
