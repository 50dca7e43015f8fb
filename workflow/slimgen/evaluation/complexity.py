"""Parameters and multiply-adds of one forward pass, counted where the products are called.

GAN Compression's tables count otherwise (the rule of its tool, torchprofile): a transposed
convolution as if every output summed over the whole kernel, which over-counts it by stride^2, and
one for every output of an instance norm. `Macs.torchprofile` is that number.

Counting at `F.conv2d`, `F.linear`, `F.scaled_dot_product_attention` and the matrix products, and
not at module classes, also covers layers that slice their weights and attention written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@dataclass
class Macs:
    """Multiply-adds by kind."""

    conv_linear: int = 0
    attention: int = 0
    transposed_excess: int = 0  # no products: what the torchprofile rule adds
    instance_norm: int = 0

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.conv_linear + self.attention

    @property
    def torchprofile(self) -> int:
        """Return the count by the rule of the GAN Compression paper's tool."""
        return self.total + self.transposed_excess + self.instance_norm


CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}
PRODUCTS = {
    torch.matmul,
    torch.bmm,
    torch.mm,
    torch.Tensor.matmul,
    torch.Tensor.bmm,
    torch.Tensor.mm,
    torch.Tensor.__matmul__,
}
BIASED_PRODUCTS = {torch.baddbmm, torch.addmm, torch.Tensor.baddbmm, torch.Tensor.addmm}
INSTANCE_NORMS = {F.instance_norm, torch.instance_norm}
OPAQUE = {F.multi_head_attention_forward, torch.einsum, torch._native_multi_head_attention}


class MacCounter(TorchFunctionMode):
    """Counts the products called while it is entered.

    Raises ValueError at a call whose products it cannot see (einsum, nn.MultiheadAttention).
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = Macs()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the call and count it."""
        kwargs = kwargs or {}
        if func in OPAQUE:
            raise ValueError(f"multiply-adds of {func.__name__} cannot be counted")
        result = func(*args, **kwargs)
        if func in CONVOLUTIONS:  # every output sums over (c_in / groups, *kernel)
            weight = _argument(args, kwargs, 1, "weight")
            self.macs.conv_linear += result.numel() * math.prod(weight.shape[1:])
        elif func in TRANSPOSED:  # every input spreads over (c_out / groups, *kernel)
            x, weight = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "weight")
            count = x.numel() * math.prod(weight.shape[1:])
            self.macs.conv_linear += count
            groups = result.shape[1 - weight.dim()] // weight.shape[1]
            per_output = weight.shape[0] // groups * math.prod(weight.shape[2:])
            self.macs.transposed_excess += result.numel() * per_output - count
        elif func in INSTANCE_NORMS:
            self.macs.instance_norm += result.numel()
        elif func is F.linear:
            weight = _argument(args, kwargs, 1, "weight")
            self.macs.conv_linear += result.numel() * weight.shape[1]
        elif func is F.scaled_dot_product_attention:  # q k^T, then attention times v
            query, key = _argument(args, kwargs, 0, "query"), _argument(args, kwargs, 1, "key")
            scores = math.prod(query.shape[:-1]) * key.shape[-2]
            self.macs.attention += scores * (query.shape[-1] + result.shape[-1])
        elif func in PRODUCTS:
            first = _argument(args, kwargs, 0, "input")
            self.macs.attention += result.numel() * first.shape[-1]
        elif func in BIASED_PRODUCTS:
            first = args[1] if len(args) > 1 else kwargs["batch1" if "batch1" in kwargs else "mat1"]
            self.macs.attention += result.numel() * first.shape[-1]
        return result


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str) -> torch.Tensor:
    return args[index] if len(args) > index else kwargs[name]


def count_params(module: nn.Module) -> int:
    """Return the number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def count_macs(module: nn.Module, *inputs: Any) -> Macs:
    """Return the multiply-adds of `module(*inputs)`; per image where the inputs hold one."""
    training = module.training
    module.eval()
    try:
        with MacCounter() as counter:
            module(*inputs)
    finally:
        module.train(training)
    return counter.macs


def count_unet_macs(network: nn.Module, shape: tuple[int, int, int]) -> Macs:
    """Return the multiply-adds of one evaluation network(x, t) for one image of (c, h, w)."""
    weight = next(network.parameters())
    x = torch.zeros(1, *shape, device=weight.device, dtype=weight.dtype)
    return count_macs(network, x, torch.zeros(1, device=weight.device))
