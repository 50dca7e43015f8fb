"""A diffusers UNet2DModel as a chain of blocks: what each block receives and returns, and the walk.

The blocks are `down_blocks.i`, `mid_block` and `up_blocks.i`. Around them stand `conv_in`, the time
embedding and the output head (norm, activation, conv). `walk` is the forward pass with the blocks'
computation left open, so that a teacher can be tapped and a supernet can choose, without hooks.

Tang et al. 2023 cut differently: there a down- or upsampling conv belongs to the block after it,
and a block's target is taken before it. Here a block is exactly what diffusers calls one, with its
down- or upsampler, and its target is every tensor that it returns (a down block's skips too).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

BLOCK_CLASSES = (
    "DownBlock2D",
    "AttnDownBlock2D",
    "ResnetDownsampleBlock2D",
    "UNetMidBlock2D",
    "UpBlock2D",
    "AttnUpBlock2D",
    "ResnetUpsampleBlock2D",
)


@dataclass(frozen=True)
class BlockInputs:
    """What a block receives: `hidden` (n, c, h, w), `temb` (n, e), and the skips of an up block."""

    hidden: torch.Tensor
    temb: torch.Tensor
    skips: tuple[torch.Tensor, ...] = ()


Outputs = tuple[torch.Tensor, ...]
RunBlock = Callable[[str, BlockInputs], Outputs]


def named_blocks(unet: UNet2DModel) -> dict[str, nn.Module]:
    """Return name -> block in the order of computation."""
    blocks = {f"down_blocks.{i}": block for i, block in enumerate(unet.down_blocks)}
    if unet.mid_block is not None:
        blocks["mid_block"] = unet.mid_block
    return blocks | {f"up_blocks.{i}": block for i, block in enumerate(unet.up_blocks)}


def named_resnets(block: nn.Module) -> dict[str, ResnetBlock2D]:
    """Return name -> ResBlock of one block in the order of computation, resampling ones last."""
    groups = [
        (name, getattr(block, name, None)) for name in ("resnets", "downsamplers", "upsamplers")
    ]
    return {
        f"{name}.{i}": module
        for name, group in groups
        for i, module in enumerate(group or ())
        if isinstance(module, ResnetBlock2D)
    }


def check_blocks(unet: UNet2DModel) -> None:
    """Raise ValueError where the U-Net has parts that this module does not know."""
    config = unet.config
    for name, block in named_blocks(unet).items():
        kind = type(block).__name__
        if kind not in BLOCK_CLASSES:
            raise ValueError(f"{name} is a {kind}; a block can be {', '.join(BLOCK_CLASSES)}")
    if unet.class_embedding is not None:
        raise ValueError("it is class-conditional; only unconditional U-Nets are searched")
    if config.time_embedding_type == "fourier":
        raise ValueError("time_embedding_type 'fourier' belongs to variance-exploding models")
    if config.center_input_sample:
        raise ValueError("center_input_sample is not supported")


def block_outputs(name: str, block: nn.Module, inputs: BlockInputs) -> Outputs:
    """Run an ordinary diffusers block; return every distinct tensor that it returns.

    A down block returns its skips, the last of which is also what flows on, so the last entry is
    always the input of the next block.
    """
    if name.startswith("down"):
        _, skips = block(inputs.hidden, inputs.temb)
        return tuple(skips)
    if name.startswith("up"):
        return (block(inputs.hidden, inputs.skips, inputs.temb),)
    return (block(inputs.hidden, inputs.temb),)


def embed_time(unet: UNet2DModel, t: torch.Tensor) -> torch.Tensor:
    """Return the time embedding (n, e) of timesteps t (n,)."""
    return unet.time_embedding(unet.time_proj(t).to(unet.conv_in.weight.dtype))


def head(unet: UNet2DModel, hidden: torch.Tensor) -> torch.Tensor:
    """Return the output head's prediction (n, c, h, w)."""
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def walk(unet: UNet2DModel, x: torch.Tensor, t: torch.Tensor, run: RunBlock) -> torch.Tensor:
    """Return the prediction (n, c, h, w) for x (n, c, h, w) at t (n,), blocks computed by `run`."""
    temb = embed_time(unet, t)
    hidden = unet.conv_in(x)
    skips: Outputs = (hidden,)
    for name, block in named_blocks(unet).items():
        taken: Outputs = ()
        if name.startswith("up"):
            count = len(block.resnets)  # type: ignore[arg-type]
            skips, taken = skips[:-count], skips[-count:]
        outputs = run(name, BlockInputs(hidden, temb, taken))
        hidden = outputs[-1]
        if name.startswith("down"):
            skips += outputs
    return head(unet, hidden)
