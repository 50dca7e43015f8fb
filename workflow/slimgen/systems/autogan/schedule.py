"""What happens at which step of a search, known before it begins.

REINFORCE alternates: every iteration trains the shared GAN, then the controller. A random search
has nothing to learn between iterations, so it spends the same rewards at the end of each stage, on
the weights that its candidates are ranked by: as many GAN updates and as many rewards in all.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from slimgen.config.autogan import SearchSettings


@dataclass(frozen=True)
class Phase:
    """Consecutive steps of one kind; `before` counts the steps of that kind in earlier phases.

    After its last step a collapsed GAN begins anew (`resets`), and the stage ends (`grows`).
    """

    kind: Literal["gan", "controller"]
    stage: int
    iteration: int
    start: int
    count: int
    before: int
    resets: bool
    grows: bool

    def number(self, step: int) -> int:
        """Return which step of its kind `step` is, from 0 over the whole search."""
        return self.before + step - self.start

    def ends(self, step: int) -> bool:
        """Return whether `step` is the phase's last one."""
        return step == self.start + self.count - 1


class Schedule:
    """The phases of a search, one after another."""

    def __init__(self, settings: SearchSettings) -> None:
        ends = (*settings.growth, settings.steps)
        stages = [range(a, b) for a, b in zip((0, *ends), ends, strict=False)]
        random = settings.method == "random"
        plan: list[tuple[Literal["gan", "controller"], int, int, bool, bool]] = []
        for stage, iterations in enumerate(stages):
            last = iterations[-1]
            for i in iterations:
                plan.append(("gan", stage, i, random and i != last, False))
                if not random:
                    plan.append(("controller", stage, i, True, i == last))
            if random:  # as with REINFORCE, what is scored is what was trained: then it begins anew
                plan += [("controller", stage, i, i == last, i == last) for i in iterations]
        counts = {"gan": settings.gan_steps, "controller": settings.controller_steps}
        done = {"gan": 0, "controller": 0}
        self.phases: list[Phase] = []
        for kind, stage, i, resets, grows in plan:
            start, count = sum(done.values()), counts[kind]
            self.phases.append(Phase(kind, stage, i, start, count, done[kind], resets, grows))
            done[kind] += count
        self.steps, self.gan_steps = sum(done.values()), done["gan"]
        self.starts = [phase.start for phase in self.phases]
        self.controller_steps = [
            len(iterations) * settings.controller_steps for iterations in stages
        ]

    def at(self, step: int) -> Phase:
        """Return the phase of a step."""
        return self.phases[bisect_right(self.starts, step) - 1]
