"""The generators of GAN Compression by their shape: make, supernet, subnet, initialise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from slimgen.networks import resnet_generator, spade_generator
from slimgen.networks.elastic_surgery import ElasticNetwork, extract, make_elastic
from slimgen.networks.resnet_generator import ResnetGenerator, ResnetShape
from slimgen.networks.spade_generator import SpadeGenerator, SpadeShape

Shape = ResnetShape | SpadeShape
Generator = ResnetGenerator | SpadeGenerator
Initialisation = Literal["normal", "xavier", "kaiming"]


def make_generator(shape: Shape) -> Generator:
    """Return a generator with torch's default random weights."""
    if isinstance(shape, ResnetShape):
        return ResnetGenerator(shape)
    return SpadeGenerator(shape)


@torch.no_grad()
def initialise(
    network: nn.Module, kind: Initialisation, rng: torch.Generator, *, gain: float = 0.02
) -> None:
    """Draw all weights of convs and linear layers anew, biases zero.

    normal: N(0, gain^2) (pix2pix, CycleGAN); xavier: with that gain (SPADE); kaiming: He's, fan in
    (MUNIT), without the gain. Affine norms: scale 1 as they are.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        spectral = parametrize.is_parametrized(module, "weight")  # then the norm divides this one:
        weight = module.get_parameter("parametrizations.weight.original" if spectral else "weight")
        if kind == "normal":
            nn.init.normal_(weight, 0.0, gain, generator=rng)
        elif kind == "xavier":
            nn.init.xavier_normal_(weight, gain, generator=rng)
        else:
            nn.init.kaiming_normal_(weight, generator=rng)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def tap_paths(shape: Shape) -> tuple[str, ...]:
    """Return the modules that the paper distils from."""
    if isinstance(shape, ResnetShape):
        return resnet_generator.tap_paths(shape)
    return spade_generator.TAPS


def sample_input(shape: Shape, size: tuple[int, int]) -> torch.Tensor:
    """Return noise in the shape (1, c, height, width) of an input."""
    channels = shape.in_channels if isinstance(shape, ResnetShape) else shape.semantic_channels
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(0))


def make_supernet(
    generator: Generator, *, size: tuple[int, int], taps: Sequence[str] = ()
) -> ElasticNetwork:
    """Return a generator, changed in place, as the supernet of the paper's eight widths.

    `size` is (height, width) of an input on which it is traced; small is enough. `taps` are modules
    distilled from; those of the paper if not given. The weights must be on the CPU.
    """
    shape = generator.shape
    if isinstance(shape, ResnetShape):
        entries, full = resnet_generator.elastic_entries(shape), resnet_generator.full_widths(shape)
    else:
        entries, full = spade_generator.elastic_entries(), spade_generator.full_widths(shape)
    inputs = (sample_input(shape, size),)
    return make_elastic(generator, inputs, entries, full=full, taps=taps or tap_paths(shape))


def extract_generator(supernet: ElasticNetwork, widths: Sequence[int]) -> Generator:
    """Return the subnet `widths` of `make_supernet` as a generator of its own shape.

    Raises ValueError for widths that it does not have.
    """
    whole = supernet.network
    assert isinstance(whole, ResnetGenerator | SpadeGenerator)
    small = make_generator(whole.shape.with_widths(widths))
    small.load_state_dict(extract(supernet, widths).state_dict())
    return small.to(next(whole.parameters()).device).train(supernet.training)
