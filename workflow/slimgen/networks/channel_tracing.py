"""Find by probing which layers read which channels, in any network, from one sample input.

Every convolution and linear layer is a source. A probe runs the network with these layers' outputs
replaced by recorded ones, in which some channels of one source are NaN. NaN goes through whatever
treats channels apart (activations, additions, products, concatenation, padding, resizing, norms
without layers), so the NaN channels that arrive at another layer are those that it reads of the
source. log2(C) probes with the bits of the channel numbers show that they arrive whole and in
order. Norm layers and convs in groups of as many inputs as outputs hand the channels on.

Sources that meet at the same channels (a residual sum) form one group. Limits, each a ValueError:
channels that meet the network's input or output, are split, reordered, flattened or mixed outside
of such layers (pixel shuffle, attention's queries and keys, Conv1d, LayerNorm, a conv in groups
with other than as many outputs). Control flow that depends on the image is not seen: only the path
that the sample takes is traced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from slimgen.networks.elastic_layers import ELASTIC

CONVS = (nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.GroupNorm, nn.BatchNorm2d, nn.InstanceNorm2d)
NAN = float("nan")

# Where channels are looked at: ("in", path, call), ("out", path, call), ("result", "", i), ...
Point = tuple[str, str, int]
Mask = torch.Tensor  # (c,), True where a channel is NaN


def is_layer(module: nn.Module) -> bool:
    """Tell whether a module is of the kinds that can be elastic."""
    return type(module) in ELASTIC


def hands_on(module: nn.Module) -> bool:
    """Tell whether a layer's outputs are its inputs' channels: norms, convs in equal groups."""
    if isinstance(module, CONVS):
        return module.groups > 1 and module.in_channels == module.out_channels
    return isinstance(module, NORMS)


def channel_dim(module: nn.Module | None) -> int:
    """Return the axis of a layer's channels."""
    return -1 if isinstance(module, nn.Linear) else 1


def nan_channels(x: torch.Tensor, dim: int) -> Mask:
    """Return which channels of x hold a NaN."""
    others = [i for i in range(x.dim()) if i != dim % x.dim()]
    return x.isnan().any(others) if others else x.isnan()


def with_nan(x: torch.Tensor, dim: int, mask: Mask) -> torch.Tensor:
    """Return x with NaN in the channels of `mask`."""
    shape = [1] * x.dim()
    shape[dim] = -1
    return torch.where(mask.view(shape), torch.full_like(x, NAN), x)


@dataclass
class Prober:
    """Runs probes of a network on a sample; use inside `with prober.installed():`."""

    network: nn.Module
    inputs: tuple[torch.Tensor, ...]
    taps: Sequence[str] = ()
    attributes: Sequence[str] = ()
    recorded: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    sizes: dict[tuple[str, str], int] = field(default_factory=dict)  # channels at ("in", path) ...
    _calls: dict[str, int] = field(default_factory=dict)
    _seen: dict[Point, Mask] = field(default_factory=dict)
    _source: tuple[str, Mask] | None = None

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """Return path -> layer of all layers of the network."""
        return {path: module for path, module in self.network.named_modules() if is_layer(module)}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the layers' computation, record their outputs once; undone at the end."""
        modes = {module: module.training for module in self.network.modules()}
        self.network.eval()
        layers, handles = self.layers, []
        try:
            for path, layer in layers.items():
                layer.forward = self._layer(path, layer, layer.forward)  # type: ignore[method-assign]
            for path, module in self.network.named_modules():
                if path in self.taps:
                    handles.append(module.register_forward_hook(self._tap(path)))
                if path not in layers and self.attribute_of(module):
                    handles.append(module.register_forward_pre_hook(self._entered(path)))
            self._run(self.inputs)
            yield
        finally:
            for layer in layers.values():
                layer.__dict__.pop("forward", None)
            for handle in handles:
                handle.remove()
            for module, mode in modes.items():
                module.training = mode

    def attribute_of(self, module: nn.Module) -> str | None:
        """Return the name under which a module keeps its number of input channels, if any."""
        names = [n for n in self.attributes if type(module.__dict__.get(n)) is int]
        return names[0] if names else None

    def sources(self) -> dict[str, int]:
        """Return path -> channels of the sources that the sample reaches; inputs are `input i`."""
        found = {
            path: self.outputs(path)
            for path, layer in self.layers.items()
            if path in self.recorded and not hands_on(layer)
        }
        return found | {
            f"input {i}": x.shape[1]
            for i, x in enumerate(self.inputs)
            if x.is_floating_point() and x.dim() > 1
        }

    def outputs(self, path: str) -> int:
        """Return a layer's number of output channels."""
        return self.recorded[path][0].shape[channel_dim(self.layers[path])]

    def probe(self, source: str, mask: Mask) -> dict[Point, Mask]:
        """Return the NaN channels at every point where `mask`'s channels of `source` arrive."""
        self._source = (source, mask)
        inputs = tuple(
            with_nan(x, 1, mask) if source == f"input {i}" else x for i, x in enumerate(self.inputs)
        )
        try:
            self._run(inputs)
        finally:
            self._source = None
        return self._seen

    @torch.no_grad()
    def _run(self, inputs: tuple[torch.Tensor, ...]) -> None:
        self._calls, self._seen = {}, {}
        result = self.network(*inputs)
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        for i, tensor in enumerate(tensors):
            self._see(("result", "", i), tensor, 1)

    def _see(self, point: Point, x: torch.Tensor, dim: int) -> Mask | None:
        """Note which channels are NaN and return them; None where none is."""
        self.sizes[point[:2]] = x.shape[dim]
        mask = nan_channels(x, dim)
        if not mask.any():
            return None
        self._seen[point] = mask
        return mask

    def _layer(self, path: str, layer: nn.Module, forward: Any) -> Any:
        dim = channel_dim(layer)

        def replaced(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            call = self._calls[path] = self._calls.get(path, -1) + 1
            seen = self._see(("in", path, call), x, dim)
            outputs = self.recorded.setdefault(path, [])
            if self._source is None:
                outputs.append(forward(x, *args, **kwargs).clone())
            if hands_on(layer) and seen is not None:
                return with_nan(outputs[call], dim, seen)
            if self._source is not None and self._source[0] == path:
                return with_nan(outputs[call], dim, self._source[1])
            return outputs[call].clone()  # what follows may work in place

        return replaced

    def _tap(self, path: str) -> Any:
        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
            self._see(("tap", path, 0), tensors[0], channel_dim(module))

        return hook

    def _entered(self, path: str) -> Any:
        def hook(_module: nn.Module, args: Any) -> None:
            tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
            if tensors and tensors[0].dim() > 1:
                self._see(("attribute", path, 0), tensors[0], 1)

        return hook


def chunks(mask: Mask, channels: int) -> list[int] | None:
    """Return where runs of so many channels start in a mask; None where it is no such row."""
    places = mask.nonzero().flatten().tolist()
    starts = places[::channels]
    expected = [start + i for start in starts for i in range(channels)]
    return starts if places == expected else None


def arrivals(prober: Prober, source: str, channels: int, touched: Mapping[Point, Mask]) -> dict:
    """Return point -> starts of the runs in which all channels of `source` arrive, in order.

    Raises ValueError where they arrive otherwise.
    """
    number = torch.arange(channels)
    found = {point: chunks(mask, channels) for point, mask in touched.items()}
    bits = [number >> bit & 1 == 1 for bit in range(max(channels - 1, 1).bit_length())]
    for mask in bits:
        seen = prober.probe(source, mask)
        for point, starts in found.items():
            expected = torch.zeros_like(touched[point])
            for start in starts or ():
                expected[start : start + channels] = mask
            if starts is not None and not torch.equal(
                seen.get(point, torch.zeros_like(expected)), expected
            ):
                found[point] = None
    for (kind, path, _), starts in found.items():
        if starts is None:
            where = {"in": f"at {path}", "tap": f"at the tap {path}"}.get(kind, f"at {path}")
            raise ValueError(
                f"the {channels} channels of {source} arrive {where} split, reordered or mixed: "
                "they cannot be made elastic"
            )
    return found
