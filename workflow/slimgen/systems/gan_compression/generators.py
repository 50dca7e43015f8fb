"""The generator that a teacher's settings describe, for the images of a data set.

Saved, opened and made elastic it is by `networks/translators.py`.
"""

from __future__ import annotations

import torch
from torch import nn

from slimgen.config.translation import Generator as GeneratorSettings
from slimgen.data.pairs import Pairs
from slimgen.networks.custom_generator import CustomShape
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.translators import Shape, build_translator
from slimgen.training.job import StageError


def generator_shape(settings: GeneratorSettings, pairs: Pairs) -> Shape:
    """Return what the settings' generator is made of for inputs and targets of `pairs`."""
    first = torch.zeros(1, dtype=torch.int64)
    inputs, outputs = pairs.batch_inputs(first), pairs.batch_targets(first)
    widths = (settings.ngf,) * 8
    if settings.kind == "resnet":
        return ResnetShape(
            in_channels=inputs.shape[1],
            out_channels=outputs.shape[1],
            widths=widths,
            blocks=settings.blocks,
            separable=settings.separable,
            dropout=settings.dropout,
        )
    if settings.kind == "spade":
        return SpadeShape(
            semantic_channels=inputs.shape[1],
            out_channels=outputs.shape[1],
            widths=widths,
            mobile=settings.mobile,
            upsamplings=settings.upsamplings,
            norm=settings.norm,
        )
    assert settings.build is not None
    return CustomShape(
        build=settings.build,
        in_channels=inputs.shape[1],
        out_channels=outputs.shape[1],
        size=(inputs.shape[2], inputs.shape[3]),
        elastic=tuple(settings.elastic.items()),
    )


def build_generator(settings: GeneratorSettings, pairs: Pairs) -> nn.Module:
    """Return the settings' generator for `pairs`, with torch's (or the callable's own) weights.

    Raises StageError where it cannot be built or does not take the data's images.
    """
    try:
        network = build_translator(generator_shape(settings, pairs))
    except ValueError as error:
        raise StageError(f"generator: {error}") from None
    check_fits(network, pairs)
    return network


@torch.no_grad()
def check_fits(network: nn.Module, pairs: Pairs) -> None:
    """Raise StageError where a generator does not make targets of the inputs of `pairs`."""
    first = torch.zeros(1, dtype=torch.int64)
    device = next(network.parameters()).device
    x, wanted = pairs.batch_inputs(first).to(device), tuple(pairs.batch_targets(first).shape[1:])
    training = network.training
    try:
        y = network.eval()(x)
    except (RuntimeError, ValueError) as error:
        raise StageError(f"generator: {str(error).partition(chr(10))[0]}") from None
    finally:
        network.train(training)
    if tuple(y.shape[1:]) != wanted:
        raise StageError(
            f"generator: makes images of (channels, height, width) {tuple(y.shape[1:])}; the "
            f"targets are {wanted}"
        )
