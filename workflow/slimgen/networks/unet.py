"""The U-Net of every diffusion system: a plain diffusers UNet2DModel built from typed settings."""

from __future__ import annotations

from typing import Any

from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.config.base import Network


def unet_arguments(settings: Network, *, channels: int, size: int) -> dict[str, Any]:
    """Return the constructor arguments of UNet2DModel for images (channels, size, size)."""
    down = ["AttnDownBlock2D" if on else "DownBlock2D" for on in settings.attention]
    up = ["AttnUpBlock2D" if on else "UpBlock2D" for on in reversed(settings.attention)]
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": tuple(settings.block_out_channels),
        "layers_per_block": settings.layers_per_block,
        "down_block_types": tuple(down),
        "up_block_types": tuple(up),
        "add_attention": settings.mid_attention,
        "attention_head_dim": settings.attention_head_dim,
        "norm_num_groups": settings.norm_num_groups,
        "norm_eps": settings.norm_eps,
        "dropout": settings.dropout,
        "flip_sin_to_cos": settings.flip_sin_to_cos,
        "freq_shift": settings.freq_shift,
        "downsample_padding": settings.downsample_padding,
    }


def make_unet(settings: Network, *, channels: int, size: int) -> UNet2DModel:
    """Return a U-Net with random weights for images of shape (channels, size, size).

    Raises ValueError where `size` cannot be halved once per level change.
    """
    halvings = len(settings.block_out_channels) - 1
    if size % 2**halvings:
        raise ValueError(
            f"network.block_out_channels has {halvings + 1} levels: images of {size} pixels "
            f"cannot be halved {halvings} times"
        )
    return UNet2DModel(**unet_arguments(settings, channels=channels, size=size))
