"""The channel plan of any network, from the layers whose outputs shall be elastic and a sample.

The probes are those of `channel_tracing`; here what they saw becomes groups, units and axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from slimgen.networks.channel_plan import Axis, ChannelGroup, ChannelPlan, LayerAxes, Run
from slimgen.networks.channel_tracing import (
    CONVS,
    Mask,
    Point,
    Prober,
    arrivals,
    hands_on,
    is_layer,
)
from slimgen.networks.module_paths import module_at

Touched = Mapping[str, Mapping[Point, Mask]]  # source -> where its channels arrive
Placed = dict[Point, dict[int, int]]  # point -> start of a run -> group


def trace_channels(
    network: nn.Module,
    inputs: Sequence[torch.Tensor],
    elastic: Mapping[str, Sequence[str]],
    *,
    full: Mapping[str, int] | None = None,
    taps: Sequence[str] = (),
    attributes: Sequence[str] = ("channels",),
) -> ChannelPlan:
    """Return which layers' channels each entry decides.

    Args:
        network: any network of ordinary layers; it is run on `inputs` without gradients.
        inputs: a sample of its arguments (small is enough).
        elastic: entry's name -> paths of the convs and linear layers whose outputs it decides.
            Layers whose outputs are added to theirs come along.
        full: entry -> its value at full width; without, the channels (of groups with different
            numbers: their greatest common divisor).
        taps: paths whose outputs' channels shall be known (for adapters).
        attributes: names under which modules keep their number of input channels to check them, as
            diffusers' resampling blocks do; they follow the width.

    Raises ValueError naming the layer: a path that does not exist, or channels that no first-c rule
    can narrow (see `channel_tracing`).
    """
    named = [path for paths in elastic.values() for path in paths]
    for path in (*named, *taps):
        module_at(network, path)
    prober = Prober(network, tuple(inputs), taps, attributes)
    with prober.installed():
        channels = prober.sources()
        _check_sources(network, named, channels)
        everything = {
            source: prober.probe(source, torch.ones(count, dtype=torch.bool))
            for source, count in channels.items()
        }
        members = [
            (entry, sources)
            for entry, paths in enumerate(elastic.values())
            for sources in _components(paths, everything)
        ]
        _check_components(tuple(elastic), members, channels, everything)
        placed: Placed = {}
        for index, (_, sources) in enumerate(members):
            for source in sources:
                found = arrivals(prober, source, channels[source], everything[source])
                for point, starts in found.items():
                    placed.setdefault(point, {}).update(dict.fromkeys(starts, index))
        sizes = [channels[sources[0]] for _, sources in members]
        layers = _layer_axes(prober, members, placed, sizes)
    values = _full_values(tuple(elastic), members, sizes, full or {})
    multiples = _multiples(network, layers, len(members))
    groups = tuple(
        ChannelGroup(entry, size, size // values[entry], multiple, tuple(sources))
        for (entry, sources), size, multiple in zip(members, sizes, multiples, strict=True)
    )
    modules = dict(network.named_modules())
    followed, tapped = {}, {}
    for (kind, path, _), starts in placed.items():
        axis = _axis(starts, sizes, prober.sizes[kind, path])
        if kind == "tap":
            tapped[path] = axis
        elif kind == "attribute":
            name = prober.attribute_of(modules[path])
            if name and getattr(modules[path], name) == sum(run.channels for run in axis):
                followed[path] = (name, axis)
    return ChannelPlan(tuple(elastic), values, groups, layers, attributes=followed, taps=tapped)


def _check_sources(network: nn.Module, named: Sequence[str], channels: Mapping[str, int]) -> None:
    for path in named:
        layer = module_at(network, path)
        if not is_layer(layer) or hands_on(layer):
            raise ValueError(
                f"{path} is a {type(layer).__name__}: name the convolution or linear layer (in one "
                "group) that makes the channels; norms and depthwise convolutions follow it"
            )
        if path not in channels:
            raise ValueError(f"{path} does nothing for the sample input")
    if len(set(named)) < len(named):
        raise ValueError(f"{max(named, key=named.count)} is named twice")


def _components(paths: Sequence[str], touched: Touched) -> list[list[str]]:
    """Return the sources that share channels with the named ones, one list per set."""
    left, found = list(paths), []
    while left:
        component, todo = [], [left[0]]
        while todo:
            source = todo.pop()
            if source in component:
                continue
            component.append(source)
            todo += [other for other in touched if _meet(touched[source], touched[other])]
        left = [path for path in left if path not in component]
        found.append(component)
    return found


def _meet(first: Mapping[Point, Mask], second: Mapping[Point, Mask]) -> bool:
    return any(bool((first[point] & second[point]).any()) for point in first.keys() & second.keys())


def _check_components(
    names: Sequence[str],
    members: Sequence[tuple[int, list[str]]],
    channels: Mapping[str, int],
    touched: Touched,
) -> None:
    owner: dict[str, int] = {}
    for entry, sources in members:
        for source in sources:
            if owner.setdefault(source, entry) != entry:
                raise ValueError(
                    f"{names[owner[source]]} and {names[entry]} share channels (those of {source}):"
                    " name their layers in one entry"
                )
            if source.startswith("input "):
                raise ValueError(
                    f"the channels of {sources[0]} are added to the network's {source}: they "
                    "cannot be made elastic"
                )
            if channels[source] != channels[sources[0]]:
                raise ValueError(
                    f"{sources[0]} and {source} meet with {channels[sources[0]]} and "
                    f"{channels[source]} channels: they cannot be made elastic"
                )
            if any(kind == "result" for kind, _, _ in touched[source]):
                raise ValueError(
                    f"the channels of {source} are the network's output: they cannot be made "
                    "elastic"
                )


def _axis(starts: Mapping[int, int], sizes: Sequence[int], length: int) -> Axis:
    """Return the runs of an axis: groups where they start, fixed channels between."""
    runs, position = [], 0
    for start, group in sorted(starts.items()):
        if start < position:
            raise ValueError("channels of two layers meet out of step")
        if start > position:
            runs.append(Run(start - position))
        runs.append(Run(sizes[group], group))
        position = start + sizes[group]
    if length > position:
        runs.append(Run(length - position))
    return tuple(runs)


def _layer_axes(
    prober: Prober, members: Sequence[tuple[int, list[str]]], placed: Placed, sizes: Sequence[int]
) -> dict[str, LayerAxes]:
    group_of = {source: i for i, (_, sources) in enumerate(members) for source in sources}
    axes: dict[str, LayerAxes] = {}
    for path, layer in prober.layers.items():
        calls = prober.recorded.get(path, [])
        if not calls:
            continue
        inputs = {
            _axis(placed.get(("in", path, call), {}), sizes, prober.sizes["in", path])
            for call in range(len(calls))
        }
        if len(inputs) > 1:
            raise ValueError(f"{path} is called with inputs of different kinds")
        read = inputs.pop()
        made = prober.outputs(path)
        written = read if hands_on(layer) else (Run(made, group_of.get(path)),)
        if any(run.group is not None for run in (*read, *written)):
            if isinstance(layer, CONVS) and layer.groups > 1 and not hands_on(layer):
                raise ValueError(
                    f"{path} is a convolution in {layer.groups} groups with {layer.in_channels} "
                    f"inputs and {layer.out_channels} outputs: it cannot be made elastic"
                )
            axes[path] = LayerAxes(read, written)
    return axes


def _full_values(
    names: Sequence[str],
    members: Sequence[tuple[int, list[str]]],
    sizes: Sequence[int],
    wanted: Mapping[str, int],
) -> tuple[int, ...]:
    values = []
    for index, name in enumerate(names):
        own = [size for (entry, _), size in zip(members, sizes, strict=True) if entry == index]
        value = wanted.get(name, math.gcd(*own))
        if any(size % value for size in own):
            raise ValueError(f"{name}: {own} channels are not multiples of its full value {value}")
        values.append(value)
    return tuple(values)


def _multiples(
    network: nn.Module, layers: Mapping[str, LayerAxes], num_groups: int
) -> tuple[int, ...]:
    """Return per group of how many channels at a time it can be narrowed."""
    multiples = [1] * num_groups
    for path, axes in layers.items():
        layer = network.get_submodule(path)
        if isinstance(layer, nn.GroupNorm):
            size = layer.num_channels // layer.num_groups
        elif isinstance(layer, CONVS) and layer.groups > 1:
            size = layer.in_channels // layer.groups
        else:
            continue
        for run in axes.inputs:
            if run.channels % size:
                raise ValueError(
                    f"{path} has {size} channels per group, and a group lies across the seam of "
                    f"{[r.channels for r in axes.inputs]} concatenated channels: it cannot be "
                    "made elastic"
                )
            if run.group is not None:
                multiples[run.group] = math.lcm(multiples[run.group], size)
    return tuple(multiples)
