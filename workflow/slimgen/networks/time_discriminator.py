"""ACT's discriminator (Kong et al. 2024): a U-Net's encoder that sees a clean image and a time.

down blocks -> middle block -> [GroupNorm] -> SiLU -> 2x2 average pooling -> one logit; the time
enters in every residual block, as in the generator. The R1 penalty needs second derivatives, which
fused attention kernels do not have: attention is computed explicitly here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, get_down_block
from torch import nn

from slimgen.config.act import Discriminator
from slimgen.config.base import Network


class TimeDiscriminator(nn.Module):
    """`discriminator(images, t)`: (n, c, h, w) and (n,) to logits (n,).

    The time embedding's form and the eps of the normalisations are those of the generator's
    `network`. With `settings.unused_head` it carries a second head that nothing reads, as the
    released code does (the published numbers of parameters count it).
    """

    def __init__(self, settings: Discriminator, *, network: Network, channels: int) -> None:
        super().__init__()
        widths = settings.block_out_channels
        time_width = 4 * widths[0]
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], network.flip_sin_to_cos, network.freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], time_width)
        self.down_blocks = nn.ModuleList(
            get_down_block(
                "AttnDownBlock2D" if settings.attention[level] else "DownBlock2D",
                num_layers=settings.layers_per_block,
                in_channels=widths[max(0, level - 1)],
                out_channels=width,
                temb_channels=time_width,
                add_downsample=level < len(widths) - 1,
                resnet_eps=network.norm_eps,
                resnet_act_fn="silu",
                resnet_groups=settings.norm_num_groups,
                attention_head_dim=settings.attention_head_dim or width,
                downsample_padding=network.downsample_padding,
                downsample_type="conv",
            )
            for level, width in enumerate(widths)
        )
        last = widths[-1]
        self.mid_block = UNetMidBlock2D(
            in_channels=last,
            temb_channels=time_width,
            resnet_eps=network.norm_eps,
            resnet_act_fn="silu",
            resnet_groups=settings.norm_num_groups,
            add_attention=settings.mid_attention,
            attention_head_dim=settings.attention_head_dim or last,
        )
        self.norm = (
            nn.GroupNorm(settings.norm_num_groups, last, eps=network.norm_eps)
            if settings.head_norm
            else nn.Identity()
        )
        self.head = nn.Linear(4 * last, 1)
        self.second_head = nn.Linear(4 * last, 1) if settings.unused_head else None
        for module in self.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())

    def forward(self, images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return one logit per image, float32."""
        embedding = self.time_embedding(self.time_proj(t).to(images.dtype))
        x = self.conv_in(images)
        for block in self.down_blocks:
            x, _ = block(hidden_states=x, temb=embedding)
        x = F.silu(self.norm(self.mid_block(x, embedding)))
        return self.head(pool_2x2(x).flatten(1)).float().squeeze(1)


def pool_2x2(x: torch.Tensor) -> torch.Tensor:
    """Average the quarters of (n, c, h, w) to (n, c, 2, 2).

    For even sides a plain mean: adaptive pooling has no deterministic gradient on a GPU.
    """
    n, c, h, w = x.shape
    if h % 2 or w % 2:
        return F.adaptive_avg_pool2d(x, 2)
    return x.reshape(n, c, 2, h // 2, 2, w // 2).mean((3, 5))


def make_discriminator(
    settings: Discriminator, *, network: Network, channels: int, size: int
) -> TimeDiscriminator:
    """Return a discriminator with random weights for images (channels, size, size).

    Raises ValueError where `size` cannot be halved once per level change.
    """
    halvings = len(settings.block_out_channels) - 1
    if size % 2**halvings:
        raise ValueError(
            f"discriminator.block_out_channels has {halvings + 1} levels: images of {size} pixels "
            f"cannot be halved {halvings} times"
        )
    return TimeDiscriminator(settings, network=network, channels=channels)
