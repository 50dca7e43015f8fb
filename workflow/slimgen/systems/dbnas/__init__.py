"""DBNAS: block-wise neural architecture search by distillation for diffusion U-Nets."""
