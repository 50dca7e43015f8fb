"""Any torch generator as a once-for-all supernet of its channel widths, and its subnets.

    supernet = make_elastic(
        generator, (sample,), {"stem": ["conv_in"], "inner": ["blocks.0.conv1", "blocks.1.conv1"]}
    )
    y = supernet(x, (32, 24))            # a width vector: one integer per entry
    small = extract(supernet, (32, 24))  # an ordinary network of the same class, equal output

The generator needs no change and need not be ours: its layers are replaced in place, by elastic
ones that take over their parameters (names in `state_dict` stay), and which channels a layer uses
reaches it as an argument through a hook that lives for one call. What is covered, and what is
refused with the layer's name, stands in `channel_tracing`; `make_elastic` also runs the full and
the smallest subnet on the sample.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from slimgen.networks.channel_groups import trace_channels
from slimgen.networks.channel_plan import ChannelPlan, LayerAxes, Widths
from slimgen.networks.elastic_layers import elastic
from slimgen.networks.elastic_norms import (
    ElasticBatchNorm2d,
    ElasticGroupNorm,
    ElasticInstanceNorm2d,
)

Inputs = torch.Tensor | tuple[torch.Tensor, ...]
NORMS = (ElasticInstanceNorm2d, ElasticGroupNorm, ElasticBatchNorm2d)


class ElasticNetwork(nn.Module):
    """The supernet of `network`, whose layers in the plan it makes elastic in place."""

    def __init__(self, network: nn.Module, plan: ChannelPlan) -> None:
        super().__init__()
        for path in plan.layers:
            layer = network.get_submodule(path)
            paths = [p for p, m in network.named_modules(remove_duplicate=False) if m is layer]
            if len(paths) > 1:
                raise ValueError(f"{' and '.join(paths)} are one layer: it cannot be made elastic")
        for path in plan.layers:
            network.set_submodule(path, elastic(network.get_submodule(path), path))
        self.network, self.plan = network, plan

    def forward(self, inputs: Inputs, widths: Widths) -> Any:
        """Return what the subnet `widths` makes of the network's argument, or tuple of arguments.

        Raises ValueError for widths that the plan does not have.
        """
        self.plan.check(widths)
        with self._narrowed(widths):
            return self.network(*inputs) if isinstance(inputs, tuple) else self.network(inputs)

    @contextlib.contextmanager
    def _narrowed(self, widths: Widths) -> Iterator[None]:
        handles, asserted = [], []
        try:
            for path, axes in self.plan.layers.items():
                layer = self.network.get_submodule(path)
                arguments = self._arguments(layer, axes, widths)
                hook = partial(_add_arguments, arguments)
                handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
            for path, (name, axis) in self.plan.attributes.items():
                module = self.network.get_submodule(path)
                asserted.append((module, name, getattr(module, name)))
                setattr(module, name, sum(count for _, count in self.plan.kept(axis, widths)))
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, name, value in asserted:
                setattr(module, name, value)

    def _arguments(self, layer: nn.Module, axes: LayerAxes, widths: Widths) -> dict[str, Any]:
        arguments = {"inputs": self.plan.kept(axes.inputs, widths)}
        if not isinstance(layer, NORMS):
            arguments["outputs"] = self.plan.kept(axes.outputs, widths)
        return arguments


def _add_arguments(
    arguments: Mapping[str, Any], _layer: nn.Module, args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    return args, kwargs | dict(arguments)


def extract(supernet: ElasticNetwork, widths: Widths) -> nn.Module:
    """Return the subnet `widths` as an ordinary network (copied weights, same class and mode).

    Raises ValueError for widths that the plan does not have.
    """
    plan = supernet.plan
    plan.check(widths)
    network = copy.deepcopy(supernet.network)
    for path, axes in plan.layers.items():
        layer = network.get_submodule(path)
        arguments = supernet._arguments(layer, axes, widths)
        network.set_submodule(path, layer.extract(**arguments))  # type: ignore[operator]
    for path, (name, axis) in plan.attributes.items():
        width = sum(count for _, count in plan.kept(axis, widths))
        setattr(network.get_submodule(path), name, width)
    return network


def make_elastic(
    network: nn.Module,
    inputs: Sequence[torch.Tensor],
    entries: Mapping[str, Sequence[str]],
    *,
    full: Mapping[str, int] | None = None,
    taps: Sequence[str] = (),
    attributes: Sequence[str] = ("channels",),
) -> ElasticNetwork:
    """Return `network`, changed in place, as a supernet; arguments as of `trace_channels`.

    Raises ValueError where a subnet would not work, naming the layer where it is known.
    """
    plan = trace_channels(network, inputs, entries, full=full, taps=taps, attributes=attributes)
    supernet = ElasticNetwork(network, plan)
    mode = network.training
    network.eval()
    for widths in (plan.full, plan.smallest):
        try:
            with torch.no_grad():
                result = supernet(tuple(inputs), widths)
        except (RuntimeError, AssertionError) as error:
            first = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(
                f"the subnet {tuple(widths)} does not run: something outside of its layers "
                f"depends on the number of channels ({first})"
            ) from error
        if not all(leaf.isfinite().all() for leaf in tree_leaves(result) if torch.is_tensor(leaf)):
            raise ValueError(f"the subnet {tuple(widths)} makes values that are not finite")
    network.train(mode)
    return supernet
