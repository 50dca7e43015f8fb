"""Multi-level architecture search keeps a beam: the K best of M partial architectures.

Each carries the controller's last hidden state, from which the next stage's controller goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from slimgen.networks.autogan_arch import Arch


@dataclass(frozen=True)
class Beam:
    """A partial architecture, the state (2, hidden) after it was emitted, and its score."""

    arch: Arch
    hidden: torch.Tensor
    score: float


def best(candidates: Iterable[Beam], *, keep: int, distinct: bool) -> list[Beam]:
    """Return the `keep` best by score, the best first; the earlier one where scores are equal.

    With `distinct` an architecture is kept once, with its best score; there may be fewer then.
    """
    kept: list[Beam] = []
    for beam in sorted(candidates, key=lambda beam: -beam.score):
        if not distinct or all(beam.arch != other.arch for other in kept):
            kept.append(beam)
    return kept[:keep]


def draw_beams(beams: Sequence[Beam], count: int, rng: torch.Generator) -> list[Beam]:
    """Return `count` beams drawn uniformly, with replacement."""
    chosen = torch.randint(len(beams), (count,), generator=rng, device=rng.device)
    return [beams[i] for i in chosen.tolist()]
