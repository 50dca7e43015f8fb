"""ACT: adversarial consistency training of a one-step model."""
