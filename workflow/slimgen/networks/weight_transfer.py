"""A student's start from its teacher: the channels with the largest weights (Li et al. 2020).

The channels of each group are sorted by the L1 norm of the weights that produce them, summed over
the group's producers. Sorting a whole network does not change what it computes; its first c
channels are then the ones to keep, so that `extract` makes the student. (The paper's code sorts
layer by layer along the chain; here what is added together is sorted together.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from slimgen.networks.channel_plan import Axis, ChannelPlan, Widths
from slimgen.networks.elastic_surgery import ElasticNetwork, extract


def l1_norms(layer: nn.Module) -> torch.Tensor:
    """Return the L1 norm of the weights of each output channel (out,) of a layer in one group."""
    weight = layer.get_parameter("weight").detach()
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return weight.abs().flatten(1).sum(1)


def channel_orders(network: nn.Module, plan: ChannelPlan) -> tuple[torch.Tensor, ...]:
    """Return per group the channels' numbers, those of the largest norm first.

    Channels that share a normalisation or convolution group stay together, in their order; equal
    norms keep their order.
    """
    orders = []
    for group in plan.groups:
        norms = torch.stack([l1_norms(network.get_submodule(p)) for p in group.producers]).sum(0)
        blocks = norms.view(-1, group.multiple).sum(1)
        order = torch.argsort(blocks, descending=True, stable=True)
        numbers = torch.arange(group.channels, device=norms.device).view(-1, group.multiple)
        orders.append(numbers[order].flatten())
    return tuple(orders)


@torch.no_grad()
def sort_channels(network: nn.Module, plan: ChannelPlan) -> nn.Module:
    """Return a copy of `network` with sorted channels, which computes the same."""
    orders = channel_orders(network, plan)
    result = copy.deepcopy(network)
    for path, axes in plan.layers.items():
        layer = result.get_submodule(path)
        outputs = _positions(axes.outputs, orders)
        inputs = _positions(axes.inputs, orders)
        tensors: Mapping[str, torch.Tensor] = layer.state_dict(keep_vars=True)
        for name, tensor in tensors.items():
            if tensor.dim() == 0:  # a counter of batches
                continue
            if name == "weight" and tensor.dim() > 1:
                transposed = isinstance(layer, nn.ConvTranspose2d)
                first, second = (inputs, outputs) if transposed else (outputs, inputs)
                value = tensor[first]
                if tensor.shape[1] == len(second):  # not in a grouped convolution
                    value = value[:, second]
            else:
                value = tensor[outputs]
            tensor.copy_(value)
    return result


def _positions(axis: Axis, orders: tuple[torch.Tensor, ...]) -> torch.Tensor:
    parts, start = [], 0
    for run in axis:
        own = torch.arange(run.channels) if run.group is None else orders[run.group].cpu()
        parts.append(start + own)
        start += run.channels
    return torch.cat(parts)


def transfer(teacher: nn.Module, plan: ChannelPlan, widths: Widths) -> nn.Module:
    """Return the student `widths` of an ordinary teacher, made of its largest channels.

    `plan` is the teacher's (`trace_channels`); the teacher stays as it is. Raises ValueError for
    widths that the plan does not have.
    """
    return extract(ElasticNetwork(sort_channels(teacher, plan), plan), widths)
