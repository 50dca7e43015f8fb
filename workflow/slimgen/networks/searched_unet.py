"""A U-Net with searched kernel sizes and inner widths of its ResBlocks; its config holds both.

The inner width of a ResBlock is that between its two convs: outputs of the first, the norm behind
it, the time projection, inputs of the second. GroupNorm keeps its channels per group.

So `save_pretrained`, `from_pretrained` and `DDIMPipeline` work as on any diffusers model.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.elastic import kept_channels, per_group
from slimgen.networks.unet_blocks import check_blocks, named_blocks, named_resnets

Kernels = Mapping[str, Sequence[int]]  # block -> kernel size of each of its convs, in order
Widths = Mapping[str, Sequence[int]]  # block -> inner width of each of its ResBlocks, in order


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


def resized(
    conv: nn.Conv2d, kernel: int, *, inputs: int | None = None, outputs: int | None = None
) -> nn.Conv2d:
    """Return a new conv of other sizes that keeps the image's size (random weights)."""
    return nn.Conv2d(
        conv.in_channels if inputs is None else inputs,
        conv.out_channels if outputs is None else outputs,
        kernel_size=kernel,
        padding=kernel // 2,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )


def groups_at(norm: nn.GroupNorm, width: int) -> int:
    """Return the groups of a norm narrowed to `width` channels, each as large as before.

    Raises ValueError where the width is not whole groups.
    """
    kept = ((norm.num_channels, width),)
    return kept_channels(per_group(kept, norm.num_channels // norm.num_groups, norm))


def narrow(resnet: ResnetBlock2D, width: int) -> None:
    """Give a ResBlock another inner width (random weights in what changes).

    Raises ValueError for a width that is not 1 to all channels in whole groups.
    """
    conv1, norm, proj, conv2 = resnet.conv1, resnet.norm2, resnet.time_emb_proj, resnet.conv2
    full = norm.num_channels
    if not 0 < width <= full:
        raise ValueError(f"{width} is not between 1 and the {full} channels of the block")
    groups = groups_at(norm, width)
    shifts = proj.out_features // full  # 2 with scale and shift
    device, dtype = conv1.weight.device, conv1.weight.dtype
    resnet.conv1 = resized(conv1, conv1.kernel_size[0], outputs=width)
    resnet.norm2 = nn.GroupNorm(groups, width, norm.eps, norm.affine, device, dtype)
    resnet.time_emb_proj = nn.Linear(
        proj.in_features, shifts * width, proj.bias is not None, device, dtype
    )
    resnet.conv2 = resized(conv2, conv2.kernel_size[0], inputs=width)


def unet_config(unet: UNet2DModel) -> dict[str, Any]:
    """Return the constructor arguments of the plain U-Net behind `unet`."""
    names = inspect.signature(UNet2DModel.__init__).parameters
    return {name: value for name, value in unet.config.items() if name in names}


class SearchedUNet2DModel(UNet2DModel):
    """UNet2DModel with `kernels`: block name -> kernel size of every ResBlock conv of the block.

    And `widths`: block name -> inner width of every ResBlock of it, None for the U-Net's own.
    Raises ValueError naming the block whose kernels or widths do not fit.
    """

    def __init__(self, kernels: Kernels, widths: Widths | None = None, **unet: Any) -> None:
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
        if widths is not None:
            self._narrow(widths)
            self.register_to_config(widths={name: list(widths[name]) for name in convs})

    def _narrow(self, widths: Widths) -> None:
        blocks = named_blocks(self)
        if set(widths) != set(blocks):
            raise ValueError(
                f"widths name the blocks {sorted(widths)}, the U-Net has {sorted(blocks)}"
            )
        for name, block in blocks.items():
            resnets = named_resnets(block)
            if len(widths[name]) != len(resnets):
                raise ValueError(
                    f"widths of {name}: {list(widths[name])}; the block has {len(resnets)} "
                    "ResBlocks"
                )
            for width, resnet in zip(widths[name], resnets.values(), strict=True):
                if width == resnet.norm2.num_channels:
                    continue
                try:
                    narrow(resnet, width)
                except ValueError as error:
                    raise ValueError(f"widths of {name}: {error}") from None


def _signature() -> inspect.Signature:
    """Return (self, kernels, widths, all arguments of UNet2DModel)."""
    theirs = inspect.signature(UNet2DModel.__init__)
    itself, *others = theirs.parameters.values()
    kernels = inspect.Parameter("kernels", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    widths = kernels.replace(name="widths", default=None)
    return theirs.replace(parameters=[itself, kernels, widths, *others])


# diffusers reads from a constructor's signature which keys of config.json are its arguments.
SearchedUNet2DModel.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
