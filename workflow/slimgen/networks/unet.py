"""The U-Net of every diffusion system: a plain diffusers UNet2DModel built from typed settings.

Golden parameter counts (Ho et al. 2020; Song et al. 2021): CIFAR-10 35,746,307, CelebA 78,700,803,
LSUN 113,673,219.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slimgen.config.base import Network

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel


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
    from diffusers.models.unets.unet_2d import UNet2DModel  # a second that GANs need not wait

    return UNet2DModel(**unet_arguments(settings, channels=channels, size=size))


def image_shape(network: Any) -> tuple[int, int, int]:
    """Return (channels, height, width) of the images that a network was made for.

    Raises ValueError where its config does not say so, or where its output is no such image.
    """
    size, config = network.config.sample_size, network.config
    if size is None:
        raise ValueError("its config.json has no sample_size")
    height, width = (size, size) if isinstance(size, int) else size
    if config.out_channels != config.in_channels:
        raise ValueError(
            f"it has {config.in_channels} channels in and {config.out_channels} out "
            "(a network that also predicts a variance cannot be used)"
        )
    return int(config.in_channels), int(height), int(width)


@torch.no_grad()
def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """Copy all weights of `source` into `target`.

    Raises ValueError naming the first tensor in which the two differ in name or shape.
    """
    ours, theirs = target.state_dict(), source.state_dict()
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = (tuple(state[name].shape) if name in state else None for state in (ours, theirs))
        if a != b:
            raise ValueError(f"{name} has shape {b or 'none'} there and {a or 'none'} here")
    target.load_state_dict(theirs)
