"""Initial weights of AutoGAN's networks (Gong et al. 2019, released code)."""

from __future__ import annotations

from torch import nn


def init_weights(network: nn.Module) -> None:
    """Draw convolutions from Xavier's uniform law, scales of batch norms from N(1, 0.02^2).

    Linear layers, transposed convolutions and biases keep torch's own initial values.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
