"""Surgery on generators that are not ours: a U-Net of diffusers blocks, UNet2DModel, small nets."""

from __future__ import annotations

import random

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn
from torch.nn import functional as F

from slimgen.distillation.module_taps import Adapters, distillation_loss, tap_channels, tapped
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.networks.channel_plan import Run
from slimgen.networks.elastic_surgery import ElasticNetwork, extract, make_elastic


class BlocksUNet(nn.Module):
    """A generator as a user may have it: diffusers ResBlocks, strided convs, one long skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.encode = block(12, 12)
        self.down = nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.middle = block(24, 24)
        self.attend = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 24, 1), nn.Sigmoid())
        self.up = nn.ConvTranspose2d(24, 12, 4, stride=2, padding=1)
        self.decode = block(24, 12)
        self.head = nn.Conv2d(12, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.encode(self.stem(x), None)
        y = self.middle(F.relu(self.down(skip), inplace=True), None)
        y = self.up(y * self.attend(y))
        return torch.tanh(self.head(self.decode(torch.cat([y, skip], 1), None)))


def block(inputs: int, outputs: int) -> ResnetBlock2D:
    return ResnetBlock2D(in_channels=inputs, out_channels=outputs, temb_channels=None, groups=6)


BLOCKS_UNET = {
    "stem": ["stem"],
    "trunk": ["down"],
    "inner": ["encode.conv1", "middle.conv1", "decode.conv1"],
    "up": ["up"],
}


def check_subnets(supernet: ElasticNetwork, inputs: tuple[torch.Tensor, ...], seed: int) -> None:
    """Assert of random width vectors that supernet and subnet agree bit for bit."""
    rng = random.Random(seed)
    plan = supernet.plan
    for trial in range(4):
        widths = plan.smallest if trial == 0 else allowed_widths(plan, rng)
        small = extract(supernet, widths)
        assert type(small) is type(supernet.network)
        assert not any(type(m).__name__.startswith("Elastic") for m in small.modules())
        assert torch.equal(first(supernet(inputs, widths)), first(small(*inputs)))
        assert count_macs(small, *inputs) == count_macs(supernet, inputs, widths)


def allowed_widths(plan, rng: random.Random) -> tuple[int, ...]:
    while True:
        widths = tuple(rng.randint(1, full) for full in plan.full)
        try:
            plan.check(widths)
        except ValueError:
            continue
        return widths


def first(output) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.sample


@torch.no_grad()
def test_a_unet_of_diffusers_blocks() -> None:
    torch.manual_seed(0)
    network, x = BlocksUNet().eval(), torch.randn(2, 1, 8, 8)
    whole = network(x)
    supernet = make_elastic(network, (x,), BLOCKS_UNET, taps=("middle", "decode.norm1"))
    plan = supernet.plan
    assert torch.equal(supernet(x, plan.full), whole)
    check_subnets(supernet, (x,), seed=0)
    # The residual sum makes encode.conv2 follow the stem, the product attend.1 the trunk; what is
    # concatenated is known run by run, and GroupNorm's groups (of 4 at decode.norm1) stay whole.
    producers = {plan.entries[g.entry]: set(g.producers) for g in plan.groups if g.entry != 2}
    assert producers == {
        "stem": {"stem", "encode.conv2"},
        "trunk": {"down", "middle.conv2", "attend.1"},
        "up": {"up"},
    }
    up = next(i for i, g in enumerate(plan.groups) if "up" in g.producers)
    stem = next(i for i, g in enumerate(plan.groups) if "stem" in g.producers)
    assert plan.layers["decode.norm1"].inputs == (Run(12, up), Run(12, stem))
    assert plan.taps["decode.norm1"] == (Run(12, up), Run(12, stem))
    assert plan.groups[up].multiple == plan.groups[stem].multiple == 4
    # "inner" decides 12, 24 and 12 channels: its 1 is 1, 2 and 1 of them, in groups of 2, 4 and 2.
    assert plan.full == (12, 24, 12, 12)
    assert plan.smallest == (4, 4, 2, 4)


@torch.no_grad()
def test_widths_that_are_not_allowed() -> None:
    supernet = make_elastic(BlocksUNet(), (torch.randn(1, 1, 8, 8),), BLOCKS_UNET)
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="3 widths, 4 are needed: stem, trunk, inner, up"):
        supernet(x, (4, 4, 4))
    with pytest.raises(ValueError, match="width 28 of trunk: it lies between 1 and 24"):
        supernet(x, (4, 28, 4, 4))
    with pytest.raises(
        ValueError, match=r"width 6 of up makes 6 channels at up: .* multiples of 4"
    ):
        extract(supernet, (4, 4, 4, 6))


@torch.no_grad()
def test_diffusers_own_unet_with_its_time_embedding_and_resampling() -> None:
    """GroupNorm over concatenated skips leaves few widths here; the inner ones are free."""
    torch.manual_seed(1)
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(12, 24),
        layers_per_block=1,
        norm_num_groups=12,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
    ).eval()
    inputs = (torch.randn(2, 1, 8, 8), torch.tensor([3, 500]))
    whole = network(*inputs).sample
    entries = {
        "time": ["time_embedding.linear_1"],
        "inner_0": ["down_blocks.0.resnets.0.conv1", "up_blocks.1.resnets.0.conv1"],
        "inner_1": ["down_blocks.1.resnets.0.conv1", "mid_block.resnets.0.conv1"],
        "outer": ["conv_in"],
    }
    supernet = make_elastic(network, inputs, entries)
    assert torch.equal(supernet(inputs, supernet.plan.full).sample, whole)
    # conv1 is added to the projected time embedding, which follows.
    inner = [set(g.producers) for g in supernet.plan.groups if g.entry == 1]
    assert {"down_blocks.0.resnets.0.conv1", "down_blocks.0.resnets.0.time_emb_proj"} in inner
    # diffusers' Downsample2D asserts its number of channels, which follows too.
    assert set(supernet.plan.attributes) == {"down_blocks.0.downsamplers.0"}
    check_subnets(supernet, inputs, seed=1)
    assert network.down_blocks[0].downsamplers[0].channels == 12


def test_distillation_from_the_teacher_to_a_supernet() -> None:
    """A narrow student with taps, one of them on concatenated channels, learns from the teacher."""
    torch.manual_seed(2)
    x = torch.randn(2, 1, 8, 8)
    teacher = BlocksUNet().eval()
    supernet = make_elastic(BlocksUNet(), (x,), BLOCKS_UNET, taps=("middle", "decode.norm1"))
    paths = ("middle", "decode.norm1")
    channels = tap_channels(teacher, paths, x)
    assert channels == {"middle": 24, "decode.norm1": 24}
    adapters = Adapters(channels, channels)
    widths = (8, 12, 12, 4)
    kept = {path: supernet.plan.kept(supernet.plan.taps[path], widths) for path in paths}
    with tapped(teacher, paths) as theirs, torch.no_grad():
        teacher(x)
    with tapped(supernet.network, paths) as ours:
        supernet(x, widths)
    loss = distillation_loss(adapters, ours, theirs, kept=kept)
    loss.backward()
    columns = adapters.convs[1].weight.grad.abs().amax((0, 2, 3))
    assert columns.gt(0).tolist() == [True] * 4 + [False] * 8 + [True] * 8 + [False] * 4
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert supernet.network.get_parameter("stem.weight").grad[:8].abs().max() > 0


class Net(nn.Module):
    """Three convs and one operation between them that a case gives."""

    def __init__(self, between, second: int = 8) -> None:
        super().__init__()
        self.a = nn.Conv2d(8, 8, 1)
        self.b = nn.Conv2d(second, 8, 1)
        self.norm = nn.GroupNorm(4, 8)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.between(self, x, self.a(x)))


CASES = {
    "added to the network's input 0": Net(lambda net, x, y: x + y),
    "8 channels of a arrive at b split": Net(lambda net, x, y: y[:, :4], second=4),
    "of a arrive at b split, reordered": Net(lambda net, x, y: y.flip(1)),
    "reordered or mixed": Net(lambda net, x, y: F.pixel_shuffle(y, 2), second=2),
    "mixed: they cannot": Net(lambda net, x, y: y - y.mean(1, keepdim=True)),
    "meet out of step|reordered": Net(lambda net, x, y: y + y.roll(1, 1)),
    "depends on the number of channels": Net(lambda net, x, y: y * torch.ones(1, 8, 1, 1)),
}


@pytest.mark.parametrize(("message", "network"), CASES.items())
def test_channels_that_no_rule_can_narrow(message: str, network: nn.Module) -> None:
    forwards = [module.forward for module in network.modules()]
    with pytest.raises(ValueError, match=message):
        make_elastic(network, (torch.randn(1, 8, 4, 4),), {"a": ["a"]})
    if "depends" not in message:  # refused before the surgery: nothing is left behind
        assert [module.forward for module in network.modules()] == forwards


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": ["c"]}, "Net has no module 'c'"),
        ({"a": ["norms"]}, "near names: norm"),
        ({"a": ["norm"]}, "norm is a GroupNorm: name the convolution"),
        ({"b": ["b"]}, "the channels of b are the network's output"),
        ({"a": ["a", "a"]}, "a is named twice"),
    ],
)
def test_entries_that_name_the_wrong_layers(entries: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_elastic(Net(lambda net, x, y: y), (torch.randn(1, 8, 4, 4),), entries)


def test_layers_that_are_added_belong_to_one_entry() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 8, 1), nn.Conv2d(1, 8, 1)
            self.c = nn.Conv2d(8, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.a(x) + self.b(x))

    x = torch.randn(1, 1, 4, 4)
    with pytest.raises(ValueError, match="first and second share channels"):
        make_elastic(Sum(), (x,), {"first": ["a"], "second": ["b"]})
    supernet = make_elastic(Sum(), (x,), {"first": ["a"]})
    small = extract(supernet, (3,))
    assert count_params(small) == 2 * (3 + 3) + 3 + 1


def test_a_norm_whose_group_lies_across_a_seam() -> None:
    class Seam(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 8, 1), nn.Conv2d(1, 4, 1)
            self.norm, self.c = nn.GroupNorm(2, 12), nn.Conv2d(12, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.norm(torch.cat([self.a(x), self.b(x)], 1)))

    with pytest.raises(ValueError, match="norm has 6 channels per group, and a group lies across"):
        make_elastic(Seam(), (torch.randn(1, 1, 4, 4),), {"a": ["a"]})
