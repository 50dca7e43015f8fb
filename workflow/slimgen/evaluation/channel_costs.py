"""What a width vector costs, in closed form: one pass without data, then integer arithmetic.

Per elastic layer, with a, b its kept inputs and outputs, p its output pixels (q its input pixels)
and k its kernel's size: conv p a b k, transposed conv q a b k, linear p a b, in groups of c inputs
p b c k. Everything else is constant. So a search under a budget asks for millions of costs without
running a network; the counts are those of `complexity` on the extracted subnet, exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from slimgen.evaluation.complexity import Macs, count_macs, count_params
from slimgen.networks.channel_plan import Widths
from slimgen.networks.elastic_surgery import ElasticNetwork, Inputs, extract

CONVS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: pixels times images (or rows) of its input and output."""

    path: str
    pixels_in: int
    pixels_out: int


class VaryingProductsError(ValueError):
    """Products outside of the elastic layers depend on the widths: no closed form."""


class ChannelCosts:
    """Costs of the subnets of `supernet` for arguments of the shapes of `inputs`.

    Raises VaryingProductsError where products outside of the elastic layers depend on the widths,
    so that no such formula holds (attention inside of a narrowed trunk): use `CountedCosts`.
    """

    def __init__(self, supernet: ElasticNetwork, inputs: Inputs) -> None:
        shadow = copy.deepcopy(supernet)
        nn.Module.to(shadow, "meta")
        self.plan = supernet.plan
        self.layers: Mapping[str, nn.Module] = {
            path: shadow.network.get_submodule(path) for path in self.plan.layers
        }
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        arguments = tuple(x.to("meta") for x in given)
        self.calls = _record(shadow, self.layers, arguments)
        full = count_macs(shadow, arguments, self.plan.full)
        own = self._layer_macs(self.plan.full)
        self.constant = tuple(whole - part for whole, part in zip(_tuple(full), own, strict=True))
        self.constant_params = count_params(supernet) - self._layer_params(self.plan.full)
        if self.macs(self.plan.smallest) != count_macs(shadow, arguments, self.plan.smallest):
            raise VaryingProductsError(
                "multiply-adds outside of the elastic layers depend on the widths: count each "
                "subnet with count_macs instead"
            )

    def macs(self, widths: Widths) -> Macs:
        """Return the multiply-adds of a subnet; raises ValueError for widths of another plan."""
        self.plan.check(widths)
        parts = zip(self.constant, self._layer_macs(widths), strict=True)
        return Macs(*(constant + own for constant, own in parts))

    def params(self, widths: Widths) -> int:
        """Return the parameters of a subnet; raises ValueError for widths of another plan."""
        self.plan.check(widths)
        return self.constant_params + self._layer_params(widths)

    def _channels(self, path: str, widths: Widths) -> tuple[int, int]:
        axes = self.plan.layers[path]
        a, b = (sum(c for _, c in self.plan.kept(x, widths)) for x in (axes.inputs, axes.outputs))
        return a, b

    def _layer_macs(self, widths: Widths) -> tuple[int, ...]:
        products = excess = norm = 0
        for call in self.calls:
            layer = self.layers[call.path]
            a, b = self._channels(call.path, widths)
            if isinstance(layer, nn.ConvTranspose2d):
                true = call.pixels_in * a * _per_group(layer, b) * _kernel(layer)
                products += true
                excess += call.pixels_out * b * _per_group(layer, a) * _kernel(layer) - true
            elif isinstance(layer, nn.Conv2d):
                products += call.pixels_out * b * _per_group(layer, a) * _kernel(layer)
            elif isinstance(layer, nn.Linear):
                products += call.pixels_out * a * b
            elif isinstance(layer, nn.InstanceNorm2d):
                norm += call.pixels_out * b
        return products, 0, excess, norm

    def _layer_params(self, widths: Widths) -> int:
        total = 0
        for path, layer in self.layers.items():
            a, b = self._channels(path, widths)
            if isinstance(layer, CONVS):
                total += b * _per_group(layer, a) * _kernel(layer)
            elif isinstance(layer, nn.Linear):
                total += a * b
            elif layer.weight is not None:
                total += b
            total += 0 if layer.bias is None else b
        return total


class CountedCosts:
    """The same costs by a pass of each subnet without data: for any network, and slower."""

    def __init__(self, supernet: ElasticNetwork, inputs: Inputs) -> None:
        self.shadow = copy.deepcopy(supernet)
        nn.Module.to(self.shadow, "meta")
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        self.arguments = tuple(x.to("meta") for x in given)

    def macs(self, widths: Widths) -> Macs:
        """Return the multiply-adds of a subnet; raises ValueError for widths of another plan."""
        return count_macs(self.shadow, self.arguments, widths)

    def params(self, widths: Widths) -> int:
        """Return the parameters of a subnet; raises ValueError for widths of another plan."""
        return count_params(extract(self.shadow, widths))


Costs = ChannelCosts | CountedCosts


def subnet_costs(supernet: ElasticNetwork, inputs: Inputs) -> Costs:
    """Return the costs in closed form where that holds, else counted."""
    try:
        return ChannelCosts(supernet, inputs)
    except VaryingProductsError:
        return CountedCosts(supernet, inputs)


def _tuple(macs: Macs) -> tuple[int, ...]:
    return macs.conv_linear, macs.attention, macs.transposed_excess, macs.instance_norm


def _kernel(layer: nn.Module) -> int:
    height, width = layer.kernel_size  # type: ignore[misc]
    return height * width  # type: ignore[has-type]


def _per_group(layer: nn.Conv2d | nn.ConvTranspose2d, channels: int) -> int:
    """Return the channels of a group: all of them, or (in groups) the constant number."""
    return channels if layer.groups == 1 else layer.in_channels // layer.groups


@torch.no_grad()
def _record(
    supernet: ElasticNetwork, layers: Mapping[str, nn.Module], arguments: tuple[torch.Tensor, ...]
) -> tuple[LayerCall, ...]:
    calls: list[LayerCall] = []

    def note(path: str) -> Any:
        def hook(layer: nn.Module, args: Any, output: torch.Tensor) -> None:
            dim = -1 if isinstance(layer, nn.Linear) else 1
            x = args[0]
            calls.append(
                LayerCall(path, x.numel() // x.shape[dim], output.numel() // output.shape[dim])
            )

        return hook

    for path, layer in layers.items():
        layer.register_forward_hook(note(path))  # on a copy of the supernet's own
    supernet(arguments, supernet.plan.full)
    for layer in layers.values():
        layer._forward_hooks.clear()
    return tuple(calls)
