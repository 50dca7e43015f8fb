"""Diffusion: schedules, predictions, the denoiser contract, samplers, saved models."""
