"""Dynamic reset: when the losses of G or D no longer vary, the shared GAN has collapsed.

Looked at are the last `window` losses of each; the test begins when G's window is full (D has had
n_critic times as many by then). The paper compares the standard deviation with the threshold, the
released code the variance, whose 1e-3 is a standard deviation of 0.032.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from slimgen.config.autogan import Reset


class LossWindows:
    """The last losses of G and of D, kept over search iterations and stages."""

    def __init__(self, settings: Reset) -> None:
        self.settings = settings
        self.generator = deque[float](maxlen=settings.window)
        self.discriminator = deque[float](maxlen=settings.window)

    def add(self, *, generator: list[float], discriminator: list[float]) -> None:
        """Take the losses of an update."""
        self.generator.extend(generator)
        self.discriminator.extend(discriminator)

    @property
    def collapsed(self) -> bool:
        """Return whether the losses of one of the two are as good as constant."""
        if not self.settings.enabled or len(self.generator) < self.settings.window:
            return False
        spread = np.std if self.settings.statistic == "std" else np.var
        losses = (self.generator, self.discriminator)
        return any(spread(np.array(window)) < self.settings.threshold for window in losses)

    def clear(self) -> None:
        """Forget all losses."""
        self.generator.clear()
        self.discriminator.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the losses."""
        return {"generator": list(self.generator), "discriminator": list(self.discriminator)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the losses."""
        self.clear()
        self.add(generator=state["generator"], discriminator=state["discriminator"])
