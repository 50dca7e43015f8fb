"""Evaluation: generation, fidelity, complexity, latency, records."""
