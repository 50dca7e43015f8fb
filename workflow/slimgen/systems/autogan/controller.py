"""AutoGAN's controller: an LSTM that emits the integers of the cells of a stage, one by one.

The first input is zero, every later one the embedding of the integer before it; each position has
its own rows of the embedding table and its own linear head. No temperature, no tanh constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Rollout:
    """B sequences of T actions, what they had as log-probability and entropy, the last state."""

    actions: torch.Tensor  # (B, T) int64
    log_probs: torch.Tensor  # (B, T)
    entropies: torch.Tensor  # (B, T), of the distribution at each position
    hidden: torch.Tensor  # (B, 2, hidden): h and c after the last head


class Controller(nn.Module):
    """`controller(hidden, rng=rng)` draws sequences; with `actions` it judges given ones."""

    def __init__(self, tokens: Sequence[int], hidden: int = 100) -> None:
        super().__init__()
        self.tokens = tuple(tokens)
        self.lstm = nn.LSTMCell(hidden, hidden)
        self.embedding = nn.Embedding(sum(tokens), hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, count) for count in tokens)

    def forward(
        self,
        hidden: torch.Tensor,
        *,
        rng: torch.Generator | None = None,
        actions: torch.Tensor | None = None,
    ) -> Rollout:
        """Roll out from the states `hidden` (B, 2, hidden)."""
        h, c = hidden.unbind(1)
        x, offset = torch.zeros_like(h), 0
        chosen, log_probs, entropies = [], [], []
        for position, (head, count) in enumerate(zip(self.heads, self.tokens, strict=True)):
            h, c = self.lstm(x, (h, c))
            log_p = head(h).log_softmax(1)  # (B, count)
            p = log_p.exp()
            if actions is None:
                action = torch.multinomial(p.detach(), 1, generator=rng).squeeze(1)
            else:
                action = actions[:, position]
            chosen.append(action)
            log_probs.append(log_p.gather(1, action[:, None]).squeeze(1))
            entropies.append(-(p * log_p).sum(1))
            x = self.embedding(offset + action)
            offset += count
        return Rollout(
            torch.stack(chosen, 1),
            torch.stack(log_probs, 1),
            torch.stack(entropies, 1),
            torch.stack([h, c], 1),
        )
