"""The depthwise-separable convolution of GAN Compression (Li et al. 2020).

depthwise k x k (bias) -> InstanceNorm -> pointwise 1 x 1 (bias), in place of one dense k x k; the
transposed form upsamples in its depthwise part.
"""

from __future__ import annotations

from torch import nn

from slimgen.networks.instance_norm import AnySizeInstanceNorm2d


def separable_conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """Return a separable convolution of (n, in, h, w) to (n, out, h / stride, w / stride)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, kernel, stride, padding, groups=in_channels),
        AnySizeInstanceNorm2d(in_channels),
        nn.Conv2d(in_channels, out_channels, 1),
    )


def separable_up(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a separable transposed convolution that doubles height and width."""
    return nn.Sequential(
        nn.ConvTranspose2d(
            in_channels, in_channels, 3, 2, padding=1, output_padding=1, groups=in_channels
        ),
        AnySizeInstanceNorm2d(in_channels),
        nn.Conv2d(in_channels, out_channels, 1),
    )
