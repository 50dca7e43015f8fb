"""What passes between the stages: generators, the saved supernet with its space, arch.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimgen.data.files import read_json, write_json
from slimgen.data.pairs import Pairs, load_pairs
from slimgen.networks.channel_plan import ChannelPlan
from slimgen.networks.elastic_surgery import ElasticNetwork
from slimgen.networks.resnet_generator import ResnetShape, widths_of
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.tensor_file import absent, load_weights, save_tensors
from slimgen.networks.translators import (
    Shape,
    build_translator,
    describe_shape,
    make_supernet_of,
    open_translator,
    read_shape,
    shape_of,
)
from slimgen.search.channel_space import (
    PUBLISHED,
    ChannelSpace,
    Widths,
    config_set,
    parse_widths,
    published_widths,
)
from slimgen.systems.gan_compression.generators import check_fits
from slimgen.training.job import StageError

WEIGHTS = "supernet.safetensors"


@dataclass(frozen=True)
class Supernet:
    """A trained supernet, in eval mode, and the space that it was trained for."""

    network: ElasticNetwork
    space: ChannelSpace
    shape: Shape  # of the widest


@dataclass(frozen=True)
class Found:
    """What arch.json says: the widths that a search chose in a supernet of that shape."""

    widths: Widths
    shape: Shape  # of the widest
    macs: int


def read_pairs(folder: Path, split: str) -> Pairs:
    """Return a split; raises StageError where the data set holds no pairs."""
    try:
        return load_pairs(folder, split)
    except ValueError as error:
        raise StageError(str(error)) from None


def read_generator(
    folder: Path, pairs: Pairs, device: torch.device | str, *, build: str | None
) -> nn.Module:
    """Return a saved generator that fits `pairs`.

    Raises StageError where it cannot be read or does not fit.
    """
    try:
        network = open_translator(folder, device, build=build)
    except ValueError as error:
        raise StageError(str(error)) from None
    try:
        check_fits(network, pairs)
    except StageError as error:
        raise StageError(f"{folder}: {error}") from None
    return network


def kind_of(shape: Shape) -> str:
    """Return resnet, spade or custom."""
    if isinstance(shape, ResnetShape):
        return "resnet"
    return "spade" if isinstance(shape, SpadeShape) else "custom"


def resolve_space(setting: str | tuple[Widths, ...], shape: Shape) -> ChannelSpace:
    """Return the space that `config_set` means for a generator.

    Raises StageError for a name that its kind does not have, and for options that are no space.
    """
    try:
        if isinstance(setting, str):
            return config_set(kind_of(shape), setting)
        return ChannelSpace(tuple(tuple(choices) for choices in setting))
    except ValueError as error:
        raise StageError(f"config_set: {error}") from None


def check_space(space: ChannelSpace, plan: ChannelPlan) -> None:
    """Raise StageError naming an option that the generator cannot have."""
    if len(space.options) != len(plan.entries):
        raise StageError(
            f"config_set: options of {len(space.options)} entries, the generator has "
            f"{len(plan.entries)}: {', '.join(plan.entries)}"
        )
    for index, choices in enumerate(space.options):
        for width in choices:
            try:
                plan.check((*plan.full[:index], width, *plan.full[index + 1 :]))
            except ValueError as error:
                raise StageError(f"config_set: {error}") from None


def resolve_widths(text: str, shape: Shape) -> Widths:
    """Return the widths that a published name or 16_16_32_... means for a generator.

    Raises StageError for another text.
    """
    kind = kind_of(shape)
    try:
        named = text in PUBLISHED.get(kind, {})
        widths = published_widths(kind, text) if named else parse_widths(text)
        return widths_of(widths) if kind == "resnet" else widths
    except ValueError as error:
        names = ", ".join(PUBLISHED.get(kind, {}))
        hint = f"; published vectors: {names}" if names and "/" in text else ""
        raise StageError(f"widths: {error}{hint}") from None


def save_supernet(folder: Path, supernet: Supernet, *, size: tuple[int, int]) -> None:
    """Write supernet.safetensors and config.json; `size` is that of the images it is traced on."""
    network = supernet.network.network
    save_tensors(folder / WEIGHTS, network.state_dict())
    record = {
        "system": "gan_compression",
        "generator": describe_shape(shape_of(network)),
        "entries": list(supernet.network.plan.entries),
        "options": [list(choices) for choices in supernet.space.options],
        "space_size": supernet.space.size,
        "size": list(size),
    }
    write_json(folder / "config.json", record)


def load_supernet(folder: Path, device: torch.device | str, *, build: str | None) -> Supernet:
    """Return a saved supernet in eval mode, without gradients.

    Raises StageError where a file is missing, damaged, or of a callable that `build` does not name.
    """
    for name in ("config.json", WEIGHTS):
        if fault := absent(folder / name):
            raise StageError(f"supernet {fault}")
    try:
        record = read_json(folder / "config.json")
        shape = read_shape(record["generator"], build=build)
        space = ChannelSpace(tuple(tuple(choices) for choices in record["options"]))
        height, width = record["size"]
        network = build_translator(shape)
        load_weights(folder / WEIGHTS, network)
        elastic = make_supernet_of(network, size=(height, width))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StageError(f"supernet {folder}: it cannot be read ({reason})") from None
    return Supernet(elastic.to(device).eval().requires_grad_(False), space, shape)


def read_arch(path: Path, *, build: str | None) -> Found:
    """Return what a search found, given the arch.json or its folder.

    Raises StageError where it is missing, holds none, or is of another callable than `build`.
    """
    file = path / "arch.json" if path.is_dir() else path
    if not file.is_file():
        raise StageError(f"{file} does not exist")
    try:
        record: Any = read_json(file)
        widths = tuple(int(width) for width in record["widths"])
        return Found(widths, read_shape(record["generator"], build=build), int(record["macs"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(f"{file}: it holds no architecture ({error})") from None
