"""Elastic layers: ordinary layers that compute with part of their channels, as the call says.

Once-for-all weights (Cai et al. 2020; Li et al. 2020, GAN Compression): a narrower layer uses the
first c channels of the widest one. Nothing is ever "active": which channels are kept arrives with
each call, and `extract` returns the ordinary layer that the same call computes.

    y = conv(x, outputs=24)                                  # the first 24; inputs from x's width
    y = conv(x, inputs=((64, 32), (48, 24)), outputs=24)     # x = cat of the first 32 and 24

The second form is for inputs that are concatenated from tensors of elastic width. Grouped layers
(grouped and depthwise convs, GroupNorm) keep their channels per group, so groups shrink with width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Kept = tuple[tuple[int, int], ...]  # runs of a channel axis: (all channels, the first ones kept)
Width = Kept | int | None  # None: all (for `inputs`: as many as x has)


def kept_channels(kept: Kept) -> int:
    """Return how many channels are kept."""
    return sum(count for _, count in kept)


def keep(tensor: torch.Tensor, dim: int, kept: Kept) -> torch.Tensor:
    """Return the kept channels of `tensor` along `dim`, contiguous.

    Raises ValueError where the runs do not cover the axis or keep what it does not have.
    """
    size = tensor.shape[dim]
    if sum(full for full, _ in kept) != size or any(not 0 < c <= full for full, c in kept):
        raise ValueError(f"of {size} channels, {list(kept)} (all, kept) cannot be kept")
    start, parts = 0, []
    for full, count in kept:
        parts.append(tensor.narrow(dim, start, count))
        start += full
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim)).contiguous()


def put(tensor: torch.Tensor, kept: Kept, values: torch.Tensor) -> None:
    """Write `values` over the kept channels of `tensor`, along its first axis."""
    start = read = 0
    for full, count in kept:
        tensor[start : start + count] = values[read : read + count]
        start, read = start + full, read + count


def resolve(width: Width, *, full: int, default: int) -> Kept:
    """Return the runs that a call's argument means."""
    if width is None:
        return ((full, default),)
    return ((full, width),) if isinstance(width, int) else width


def per_group(kept: Kept, channels: int, layer: nn.Module) -> Kept:
    """Return the runs counted in groups of so many channels.

    Raises ValueError where a run holds a part of a group.
    """
    if any(full % channels or count % channels for full, count in kept):
        raise ValueError(
            f"{type(layer).__name__} has {channels} channels per group: of runs (all, kept) "
            f"{list(kept)}, not every one is whole groups"
        )
    return tuple((full // channels, count // channels) for full, count in kept)


def _times(kept: Kept, factor: int) -> Kept:
    return tuple((full * factor, count * factor) for full, count in kept)


def keep_optional(tensor: torch.Tensor | None, kept: Kept) -> torch.Tensor | None:
    """Return the kept entries of a bias or scale (c,), None for none."""
    return None if tensor is None else keep(tensor, 0, kept)


def set_parameters(
    layer: nn.Module, like: nn.Module, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> None:
    """Give a layer copies of weight and bias as parameters, trainable where those of `like` are."""
    for name, tensor in (("weight", weight), ("bias", bias)):
        parameter = None
        if tensor is not None:
            trainable = like.get_parameter(name).requires_grad
            parameter = nn.Parameter(tensor.detach().clone(), requires_grad=trainable)
        layer.register_parameter(name, parameter)


class ElasticConv2d(nn.Conv2d):
    """A convolution, grouped or not, of the kept inputs and outputs."""

    def select(self, inputs: Kept, outputs: Width) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Return weight (out, in / groups, k, k), bias (out,) and groups of the kept channels."""
        if self.groups == 1:
            out = resolve(outputs, full=self.out_channels, default=self.out_channels)
            weight = keep(keep(self.weight, 0, out), 1, inputs)
            return weight, keep_optional(self.bias, out), 1
        groups, out = _grouped(self, inputs, outputs)
        return keep(self.weight, 0, out), keep_optional(self.bias, out), groups

    def forward(self, x: torch.Tensor, *, inputs: Width = None, outputs: Width = None) -> Any:
        """Return (n, out, h', w') of x (n, in, h, w)."""
        kept = resolve(inputs, full=self.in_channels, default=x.shape[1])
        weight, bias, groups = self.select(kept, outputs)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)

    def extract(self, inputs: Kept, outputs: Width = None) -> nn.Conv2d:
        """Return the ordinary layer of the kept channels (copied weights)."""
        weight, bias, groups = self.select(inputs, outputs)
        layer = nn.Conv2d(
            kept_channels(inputs),
            weight.shape[0],
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            groups,
            bias is not None,
            self.padding_mode,
            device="meta",
        )
        set_parameters(layer, self, weight, bias)
        return layer.train(self.training)


class ElasticConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution, grouped or not, of the kept inputs and outputs."""

    def select(self, inputs: Kept, outputs: Width) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Return weight (in, out / groups, k, k), bias (out,) and groups of the kept channels."""
        if self.groups == 1:
            out = resolve(outputs, full=self.out_channels, default=self.out_channels)
            weight = keep(keep(self.weight, 0, inputs), 1, out)
            return weight, keep_optional(self.bias, out), 1
        groups, out = _grouped(self, inputs, outputs)
        return keep(self.weight, 0, inputs), keep_optional(self.bias, out), groups

    def forward(
        self,
        x: torch.Tensor,
        output_size: list[int] | None = None,
        *,
        inputs: Width = None,
        outputs: Width = None,
    ) -> Any:
        """Return (n, out, h', w') of x (n, in, h, w)."""
        kept = resolve(inputs, full=self.in_channels, default=x.shape[1])
        weight, bias, groups = self.select(kept, outputs)
        extra = self._output_padding(
            x,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            2,
            self.dilation,  # type: ignore[arg-type]
        )
        padding: Any = self.padding
        return F.conv_transpose2d(
            x, weight, bias, self.stride, padding, extra, groups, self.dilation
        )

    def extract(self, inputs: Kept, outputs: Width = None) -> nn.ConvTranspose2d:
        """Return the ordinary layer of the kept channels (copied weights)."""
        weight, bias, groups = self.select(inputs, outputs)
        layer = nn.ConvTranspose2d(
            kept_channels(inputs),
            weight.shape[1] * groups,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.output_padding,  # type: ignore[arg-type]
            groups,
            bias is not None,
            self.dilation,  # type: ignore[arg-type]
            device="meta",
        )
        set_parameters(layer, self, weight, bias)
        return layer.train(self.training)


def _grouped(layer: nn.Conv2d | nn.ConvTranspose2d, inputs: Kept, out: Width) -> tuple[int, Kept]:
    """Return the groups and the outputs that go with the inputs of a grouped convolution."""
    groups = per_group(inputs, layer.in_channels // layer.groups, layer)
    follow = _times(groups, layer.out_channels // layer.groups)
    if out is not None:
        wanted = resolve(out, full=layer.out_channels, default=layer.out_channels)
        if kept_channels(wanted) != kept_channels(follow):
            raise ValueError(
                f"a convolution in groups has {kept_channels(follow)} outputs for "
                f"{kept_channels(inputs)} inputs, not {kept_channels(wanted)}"
            )
    return kept_channels(groups), follow


class ElasticLinear(nn.Linear):
    """A linear layer of the kept features."""

    def select(self, inputs: Kept, outputs: Width) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight (out, in) and bias (out,) of the kept features."""
        out = resolve(outputs, full=self.out_features, default=self.out_features)
        return keep(keep(self.weight, 0, out), 1, inputs), keep_optional(self.bias, out)

    def forward(
        self, x: torch.Tensor, *, inputs: Width = None, outputs: Width = None
    ) -> torch.Tensor:
        """Return (..., out) of x (..., in)."""
        kept = resolve(inputs, full=self.in_features, default=x.shape[-1])
        return F.linear(x, *self.select(kept, outputs))

    def extract(self, inputs: Kept, outputs: Width = None) -> nn.Linear:
        """Return the ordinary layer of the kept features (copied weights)."""
        weight, bias = self.select(inputs, outputs)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
        set_parameters(layer, self, weight, bias)
        return layer.train(self.training)
