"""A generator that the user's own callable builds: `package.module:function`.

The callable gets (in_channels, out_channels) and returns a network from images (n, in, h, w) to
images (n, out, h, w) in [-1, 1], of ordinary layers. It must build the same network every time
(weights may be random: saved ones replace them).

Only a callable that the settings of the running stage name is ever imported. The config.json of a
saved model records which one built it, to be compared with, and never to be run: a model from
elsewhere brings no code along.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from slimgen.networks.elastic_surgery import ElasticNetwork, extract, make_elastic

ATTRIBUTE = "translator_shape"  # under which a built network keeps its CustomShape


@dataclass(frozen=True)
class CustomShape:
    """What a generator is made of; `widths` are None for the callable's own."""

    build: str  # package.module:function
    in_channels: int
    out_channels: int
    size: tuple[int, int]  # (height, width) of the images on which it is traced
    elastic: tuple[tuple[str, tuple[str, ...]], ...]  # entry -> layers whose outputs it decides
    widths: tuple[int, ...] | None = None

    def with_widths(self, widths: Sequence[int]) -> CustomShape:
        """Return the shape with other widths."""
        return replace(self, widths=tuple(widths))

    @property
    def entries(self) -> Mapping[str, tuple[str, ...]]:
        """Return entry -> layers, as `make_elastic` takes them."""
        return dict(self.elastic)

    def sample(self) -> torch.Tensor:
        """Return noise in the shape of two inputs."""
        rng = torch.Generator().manual_seed(0)
        return torch.randn(2, self.in_channels, *self.size, generator=rng)


def import_callable(name: str) -> Any:
    """Return the callable of `package.module:function`.

    Raises ValueError where it does not exist.
    """
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(f"build {name!r}: name a callable as package.module:function")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"build {name!r}: {error}") from None
    if not callable(found):
        raise ValueError(f"build {name!r}: it cannot be called")
    return found


def build_whole(shape: CustomShape) -> nn.Module:
    """Return what the callable builds, on the CPU, its shape noted; `shape.widths` are ignored.

    Raises ValueError where it is no network from such inputs to such outputs.
    """
    network = import_callable(shape.build)(shape.in_channels, shape.out_channels)
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"build {shape.build!r}: it returned a {type(network).__name__}, no module"
        )
    training = network.training
    x = shape.sample()
    try:
        with torch.no_grad():
            y = network.eval()(x)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"build {shape.build!r}: fails on inputs {tuple(x.shape)} ({first})"
        ) from None
    wanted = (len(x), shape.out_channels, *shape.size)
    if not isinstance(y, torch.Tensor) or tuple(y.shape) != wanted:
        got = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
        raise ValueError(
            f"build {shape.build!r}: makes {got} of inputs {tuple(x.shape)}, not {wanted}"
        )
    setattr(network, ATTRIBUTE, replace(shape, widths=None))
    return network.train(training)


def custom_shape(network: nn.Module) -> CustomShape | None:
    """Return the shape of a network that a callable built; None for all others."""
    shape = getattr(network, ATTRIBUTE, None)
    return shape if isinstance(shape, CustomShape) else None


def make_custom_supernet(network: nn.Module, *, taps: Sequence[str] = ()) -> ElasticNetwork:
    """Return what a callable built, changed in place, as a supernet of its named entries.

    Raises ValueError where a layer cannot be made elastic, or for a network that is narrowed
    already.
    """
    shape = custom_shape(network)
    if shape is None or shape.widths is not None:
        raise ValueError("only a whole network of the callable can become a supernet")
    return make_elastic(network, (shape.sample(),), shape.entries, taps=taps)


def extract_custom(supernet: ElasticNetwork, widths: Sequence[int]) -> nn.Module:
    """Return the subnet `widths` as an ordinary network, its shape noted."""
    network = extract(supernet, widths)
    shape = custom_shape(supernet.network)
    assert shape is not None
    setattr(network, ATTRIBUTE, shape.with_widths(widths))
    return network


def build_custom(shape: CustomShape) -> nn.Module:
    """Return the network of a shape: the callable's own, or narrowed to `shape.widths`.

    Raises ValueError as `build_whole` and `make_custom_supernet` do.
    """
    network = build_whole(shape)
    if shape.widths is None:
        return network
    return extract_custom(make_custom_supernet(network), shape.widths)
