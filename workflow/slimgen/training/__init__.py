"""Training: one loop, exact resume, averages, optimizers, logs."""
