"""Denoising Student: a DDIM teacher distilled into one network evaluation."""
