"""Typed configuration: one file is one run; everything is checked before any job starts."""
