"""Image-to-image generators of every kind: what one is made of, saved, opened, made elastic.

Three kinds under one roof: ResNet, SPADE, and `custom` (any network that the user's callable
builds; `custom_generator` says how it is kept from running code that a model's folder names). A
saved generator is config.json and model.safetensors, with nothing elastic in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.data.files import read_json, write_json
from slimgen.networks.custom_generator import (
    CustomShape,
    build_custom,
    custom_shape,
    extract_custom,
    make_custom_supernet,
)
from slimgen.networks.elastic_surgery import ElasticNetwork
from slimgen.networks.gan_generators import (
    extract_generator,
    make_generator,
    make_supernet,
    sample_input,
    tap_paths,
)
from slimgen.networks.resnet_generator import ResnetGenerator, ResnetShape
from slimgen.networks.spade_generator import SpadeGenerator, SpadeShape
from slimgen.networks.tensor_file import absent, load_weights, save_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
Shape = ResnetShape | SpadeShape | CustomShape
CLASSES: dict[str, type[Any]] = {
    "ResnetGenerator": ResnetShape,
    "SpadeGenerator": SpadeShape,
    "custom": CustomShape,
}


def build_translator(shape: Shape) -> nn.Module:
    """Return a generator of a shape, with random weights.

    Raises ValueError where there is none.
    """
    return build_custom(shape) if isinstance(shape, CustomShape) else make_generator(shape)


def shape_of(network: nn.Module) -> Shape:
    """Return what a generator is made of; raises ValueError for a network of none of the kinds."""
    if isinstance(network, ResnetGenerator | SpadeGenerator):
        return network.shape
    shape = custom_shape(network)
    if shape is None:
        raise ValueError(f"{type(network).__name__} is no generator of this system")
    return shape


def sample_of(shape: Shape, size: tuple[int, int]) -> torch.Tensor:
    """Return noise in the shape (1, c, height, width) of an input."""
    if isinstance(shape, CustomShape):
        return torch.randn(1, shape.in_channels, *size, generator=torch.Generator().manual_seed(0))
    return sample_input(shape, size)


def describe_shape(shape: Shape) -> dict[str, Any]:
    """Return a shape as the JSON values of config.json."""
    names = {kind: name for name, kind in CLASSES.items()}
    return {"class": names[type(shape)]} | asdict(shape)


def read_shape(record: Any, *, build: str | None) -> Shape:
    """Return the shape of `describe_shape`.

    Raises ValueError for what is none, and for a custom one unless `build`, which comes from the
    settings of whoever reads it, names the very callable that the record names.
    """
    values = dict(record) if isinstance(record, dict) else {}
    kind = CLASSES.get(values.pop("class", ""))
    if kind is None:
        raise ValueError(f"not the config of {' or '.join(CLASSES)}")
    if kind is CustomShape:
        named = values.get("build")
        if named != build:
            told = "names none" if build is None else f"names {build!r}"
            raise ValueError(
                f"the generator was built by {named!r}, and `build` in the settings of this stage "
                f"{told}: only what the settings name is imported"
            )
        pairs = values.get("elastic", ())
        values["elastic"] = tuple((entry, tuple(paths)) for entry, paths in pairs)
    try:
        shape: Shape = kind(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        )
    except TypeError as error:
        raise ValueError(str(error)) from None
    return shape


def save_translator(folder: Path, network: nn.Module) -> None:
    """Write config.json and model.safetensors, each whole or not at all."""
    save_tensors(folder / WEIGHTS, network.state_dict())
    write_json(folder / CONFIG, describe_shape(shape_of(network)))


def open_translator(
    folder: Path, device: torch.device | str = "cpu", *, build: str | None = None
) -> nn.Module:
    """Read a saved generator in eval mode, without gradients.

    `build` is the callable that may build it, from the settings of the stage that reads it.
    Raises ValueError naming the file that is missing, damaged or of another kind.
    """
    for name in (CONFIG, WEIGHTS):
        if fault := absent(folder / name):
            raise ValueError(fault)
    try:
        shape = read_shape(read_json(folder / CONFIG), build=build)
        network = build_translator(shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    load_weights(folder / WEIGHTS, network)
    return network.to(device).eval().requires_grad_(False)


def default_taps(network: nn.Module) -> tuple[str, ...]:
    """Return the modules that the paper distils from; none for a custom generator."""
    shape = shape_of(network)
    return () if isinstance(shape, CustomShape) else tap_paths(shape)


def make_supernet_of(
    network: nn.Module, *, size: tuple[int, int], taps: Sequence[str] = ()
) -> ElasticNetwork:
    """Return a generator on the CPU, changed in place, as the supernet of its width vector.

    `size` is (height, width) of an input; `taps` are modules whose channels the plan shall know
    (for a ResNet or SPADE: those of the paper, if not given). Raises ValueError where a layer or a
    tap cannot be followed.
    """
    if isinstance(network, ResnetGenerator | SpadeGenerator):
        return make_supernet(network, size=size, taps=taps)
    return make_custom_supernet(network, taps=taps)


def extract_translator(supernet: ElasticNetwork, widths: Sequence[int]) -> nn.Module:
    """Return the subnet `widths` as an ordinary generator that can be saved.

    Raises ValueError for widths that the supernet does not have.
    """
    if isinstance(supernet.network, ResnetGenerator | SpadeGenerator):
        return extract_generator(supernet, widths)
    return extract_custom(supernet, widths)
