"""Data stages."""
