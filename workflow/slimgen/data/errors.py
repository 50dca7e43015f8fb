"""The error of data that cannot be used."""

from __future__ import annotations


class DataError(ValueError):
    """A source cannot be read, fetched or split; the message is one clear line that names it."""


class FetchError(DataError):
    """A source cannot be fetched or kept just now: another attempt may find network and room."""
