"""A U-Net whose ResBlock convs have searched kernel sizes; its config holds the architecture.

So `save_pretrained`, `from_pretrained` and `DDIMPipeline` work as on any diffusers model.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.unet_blocks import check_blocks, named_blocks, named_resnets

Kernels = Mapping[str, Sequence[int]]  # block -> kernel size of each of its convs, in order


def searchable_convs(unet: UNet2DModel) -> dict[str, list[tuple[nn.Module, str]]]:
    """Return block -> its searchable convs in order, each as (ResBlock, "conv1" or "conv2")."""
    return {
        name: [
            (resnet, conv)
            for resnet in named_resnets(block).values()
            for conv in ("conv1", "conv2")
        ]
        for name, block in named_blocks(unet).items()
    }


def resized(conv: nn.Conv2d, kernel: int) -> nn.Conv2d:
    """Return a new conv of another kernel size that keeps the image's size (random weights)."""
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=kernel,
        padding=kernel // 2,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )


def unet_config(unet: UNet2DModel) -> dict[str, Any]:
    """Return the constructor arguments of the plain U-Net behind `unet`."""
    names = inspect.signature(UNet2DModel.__init__).parameters
    return {name: value for name, value in unet.config.items() if name in names}


class SearchedUNet2DModel(UNet2DModel):
    """UNet2DModel with `kernels`: block name -> kernel size of every ResBlock conv of the block."""

    def __init__(self, kernels: Kernels, **unet: Any) -> None:
        super().__init__(**unet)
        check_blocks(self)
        convs = searchable_convs(self)
        if set(kernels) != set(convs):
            raise ValueError(
                f"kernels name the blocks {sorted(kernels)}, the U-Net has {sorted(convs)}"
            )
        for name, places in convs.items():
            if len(kernels[name]) != len(places):
                raise ValueError(
                    f"kernels of {name}: {list(kernels[name])}; the block has {len(places)} convs"
                )
            for kernel, (resnet, conv) in zip(kernels[name], places, strict=True):
                if kernel < 1 or kernel % 2 == 0:
                    raise ValueError(f"kernels of {name}: {kernel} is not odd")
                if kernel != 3:
                    setattr(resnet, conv, resized(getattr(resnet, conv), kernel))
        self.register_to_config(kernels={name: list(kernels[name]) for name in convs})


def _signature() -> inspect.Signature:
    """Return (self, kernels, all arguments of UNet2DModel)."""
    theirs = inspect.signature(UNet2DModel.__init__)
    itself, *others = theirs.parameters.values()
    kernels = inspect.Parameter("kernels", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return theirs.replace(parameters=[itself, kernels, *others])


# diffusers reads from a constructor's signature which keys of config.json are its arguments.
SearchedUNet2DModel.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
