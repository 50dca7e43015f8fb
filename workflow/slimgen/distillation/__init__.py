"""Distillation: feature taps and block losses."""
