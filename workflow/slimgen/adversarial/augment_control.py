"""The augmentation probability p that follows the discriminator's R1 value (ACT, Kong et al. 2024).

StyleGAN2-ADA steers p by the sign of D(real); ACT steers it by an average of the R1 penalty, which
rises when the discriminator overfits. At each R1 evaluation

    a <- d a + (1 - d) R1,    p <- clip(p + s Delta, 0, p_max),  s = +1 if a > tau else -1,

with a = tau at the start and Delta = images per step * R1 interval / ada_length, so that p takes
`ada_length` training images from 0 to 1.
"""

from __future__ import annotations

from typing import Any


class AugmentControl:
    """p and the R1 average: part of the state of training, restored on resume.

    `delta` is the step of p, `largest_p` the largest value that p has had.
    """

    def __init__(self, *, tau: float, delta: float, decay: float, p_max: float) -> None:
        self.tau, self.delta, self.decay, self.p_max = tau, delta, decay, p_max
        self.p, self.r1_average, self.largest_p = 0.0, tau, 0.0

    def update(self, r1: float) -> None:
        """Take in one R1 value: move the average, then p."""
        self.r1_average = self.decay * self.r1_average + (1 - self.decay) * r1
        direction = 1.0 if self.r1_average > self.tau else -1.0
        self.p = min(max(self.p + direction * self.delta, 0.0), self.p_max)
        self.largest_p = max(self.largest_p, self.p)

    def state_dict(self) -> dict[str, Any]:
        """Return p, the R1 average and the largest p."""
        return {"p": self.p, "r1_average": self.r1_average, "largest_p": self.largest_p}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.p, self.r1_average = state["p"], state["r1_average"]
        self.largest_p = state["largest_p"]


def augment_step(*, images_per_step: int, interval: int, ada_length: float) -> float:
    """Return Delta, by which p moves at each R1 evaluation."""
    return images_per_step * interval / ada_length
