"""Costs of width vectors in closed form, saved generators, initial weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.evaluation.channel_costs import ChannelCosts
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.networks.elastic_surgery import extract, make_elastic
from slimgen.networks.gan_generators import (
    extract_generator,
    initialise,
    make_generator,
    make_supernet,
    sample_input,
)
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.translators import open_translator, save_translator

SHAPES = {
    "resnet": ResnetShape(2, 1, (12,) * 8, blocks=6, separable=("blocks", "up")),
    "spade": SpadeShape(4, 1, (4,) * 8, mobile=True, upsamplings=3, norm="batch"),
    "spade, one pixel": SpadeShape(4, 1, (4,) * 8, mobile=True, upsamplings=4, norm="instance"),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_costs_are_those_of_the_subnets(shape) -> None:
    rng = random.Random(0)
    supernet = make_supernet(make_generator(shape), size=(16, 16))
    x = sample_input(shape, (32, 16))
    costs = ChannelCosts(supernet, x)
    for _ in range(4):
        widths = tuple(rng.randint(1, full) for full in supernet.plan.full)
        with torch.device("meta"):
            small = make_generator(shape.with_widths(widths))
        assert costs.macs(widths) == count_macs(small, x.to("meta"))
        assert costs.params(widths) == count_params(small)


def test_costs_with_grouped_norms_and_linear_layers() -> None:
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )
    inputs = (torch.randn(2, 1, 8, 8), torch.tensor([1, 2]))
    entries = {"a": ["down_blocks.0.resnets.0.conv1"], "b": ["mid_block.resnets.0.conv1"]}
    supernet = make_elastic(network, inputs, entries)
    costs = ChannelCosts(supernet, inputs)
    small = extract(supernet, (4, 12))
    assert costs.macs((4, 12)) == count_macs(small, *inputs)
    assert costs.macs((4, 12)).attention > 0
    assert costs.params((4, 12)) == count_params(small)
    with pytest.raises(ValueError, match="multiples of 2"):
        costs.macs((3, 12))


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_subnet_saves_and_loads(shape, tmp_path: Path) -> None:
    supernet = make_supernet(make_generator(shape), size=(16, 16)).eval()
    widths = (3, 4, 2, 1, 4, 3, 2, 1)
    save_translator(tmp_path, extract_generator(supernet, widths))
    loaded = open_translator(tmp_path)
    assert loaded.shape == shape.with_widths(widths)
    x = sample_input(shape, (16, 16))
    assert torch.equal(loaded(x), supernet(x, widths))


def test_a_saved_generator_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config.json does not exist"):
        open_translator(tmp_path)
    save_translator(tmp_path, make_generator(SHAPES["resnet"]))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="weights cannot be read"):
        open_translator(tmp_path)
    (tmp_path / "config.json").write_text('{"class": "Other"}')
    with pytest.raises(ValueError, match="not the config of ResnetGenerator or SpadeGenerator"):
        open_translator(tmp_path)


def test_initial_weights() -> None:
    network = make_generator(ResnetShape())
    initialise(network, "normal", torch.Generator().manual_seed(0))
    weight = network.get_parameter("model.7.weight")
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert network.get_parameter("model.7.bias").abs().max() == 0
    again = make_generator(ResnetShape())
    initialise(again, "normal", torch.Generator().manual_seed(0))
    assert torch.equal(again.get_parameter("model.7.weight"), weight)
    initialise(network, "xavier", torch.Generator().manual_seed(0))
    fans = 9 * (128 + 256)
    assert weight.std().item() == pytest.approx(0.02 * (2 / fans) ** 0.5, rel=0.01)
    initialise(network, "kaiming", torch.Generator().manual_seed(0))
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)


def test_products_outside_of_layers_that_depend_on_the_widths() -> None:
    class Mixing(nn.Module):
        """Pixels are mixed by a matrix of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.value, self.out = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1)
            self.mix = nn.Parameter(torch.randn(16, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mixed = torch.matmul(self.value(x).flatten(2), self.mix)
            return self.out(mixed.unflatten(2, x.shape[2:]))

    x = torch.randn(1, 1, 4, 4)
    supernet = make_elastic(Mixing(), (x,), {"value": ["value"]})
    with pytest.raises(ValueError, match="outside of the elastic layers depend on the widths"):
        ChannelCosts(supernet, x)
