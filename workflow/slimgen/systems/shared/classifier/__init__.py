"""Classifier stages."""
