"""The generators: golden counts of the released models, and a supernet equal to its subnets."""

from __future__ import annotations

import random

import pytest
import torch

from slimgen.evaluation.complexity import Macs, count_macs, count_params
from slimgen.networks import resnet_generator as resnet
from slimgen.networks import spade_generator as spade
from slimgen.networks.elastic_surgery import ElasticNetwork, extract, make_elastic
from slimgen.networks.resnet_generator import ResnetGenerator, ResnetShape
from slimgen.networks.spade_generator import SpadeGenerator, SpadeShape
from slimgen.search.channel_space import published_widths

MOBILE = ("blocks",)


def resnet_counts(shape: ResnetShape) -> tuple[int, Macs]:
    with torch.device("meta"):
        network = ResnetGenerator(shape)
        return count_params(network), count_macs(network, torch.zeros(1, 3, 256, 256))


# Parameters in millions and multiply-adds in G by the torchprofile rule, as printed.
@pytest.mark.parametrize(
    ("width", "separable", "params", "without_norms", "off"),
    [
        (64, (), 11.378, 56.799, 0.0005),
        (64, MOBILE, 1.987, 18.31, 0.005),
        (96, MOBILE, 4.418, 40.16, 0.005),
        (48, MOBILE, 1.131, 10.57, 0.0055),  # 10.565, rounded twice
        (32, MOBILE, 0.514, 4.93, 0.005),
    ],
)
def test_golden_teachers(width, separable, params, without_norms, off) -> None:
    count, macs = resnet_counts(ResnetShape(widths=(width,) * 8, separable=separable))
    assert round(count / 1e6, 3) == params
    assert abs((macs.torchprofile - macs.instance_norm) / 1e9 - without_norms) < off


def test_golden_true_count() -> None:
    _, full = resnet_counts(ResnetShape())
    assert round(full.total / 1e9, 2) == 49.55
    assert round(full.transposed_excess / 1e9, 2) == 7.25
    _, mobile = resnet_counts(ResnetShape(separable=MOBILE))
    assert round(mobile.torchprofile / 1e9, 2) == 18.37


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("horse2zebra/gan-compression", 0.357, 2.546),
        ("horse2zebra/fast", 0.355, 2.641),
        ("edges2shoes/gan-compression", 0.822, 4.994),
        ("edges2shoes/fast", 0.703, 4.863),
        ("cityscapes/gan-compression", 0.781, 5.592),
        ("map2sat/gan-compression", 0.746, 4.683),
        ("horse2zebra/legacy", 0.342, 2.670),
        ("edges2shoes/legacy", 0.700, 4.809),
        ("cityscapes/legacy", 0.707, 5.665),
        ("cityscapes/fast", 0.886, 5.451),
        ("cityscapes/fast-readme", 0.867, 5.606),
        ("map2sat/fast", 0.720, 4.570),
        ("map2sat/fast-readme", 0.708, 4.528),
    ],
)
def test_golden_released_subnets(name: str, params: float, macs: float) -> None:
    widths = resnet.widths_of(published_widths("resnet", name))
    first = name == "edges2shoes/legacy"  # built by the legacy generator class
    count, found = resnet_counts(ResnetShape(widths=widths, separable=MOBILE, first_of_third=first))
    assert round(count / 1e6, 3) == params
    assert round(found.torchprofile / 1e9, 3) == macs


@pytest.mark.parametrize(
    ("name", "channels", "mobile", "params"),
    [
        (None, 36, False, 93.048),
        (None, 184, False, 97.481),
        (None, 36, True, 70.681),
        ("cityscapes/legacy", 36, True, 20.425),
        ("cityscapes/gan-compression", 36, True, 21.003),
        ("cityscapes/fast", 36, True, 20.174),
        ("coco/fast", 184, True, 25.986),
    ],
)
def test_golden_spade(name: str | None, channels: int, mobile: bool, params: float) -> None:
    widths = published_widths("spade", name) if name else (64,) * 8
    with torch.device("meta"):
        network = SpadeGenerator(SpadeShape(channels, widths=widths, mobile=mobile))
    assert round(count_params(network) / 1e6, 3) == params


# The README's multiply-adds in G, at six upsamplings and 512x256 for cityscapes, five and 256x256
# for COCO; each normalisation without parameters counts one per element.
@pytest.mark.parametrize(
    ("name", "channels", "width", "ups", "macs"),
    [
        (None, 36, 512, 6, 281),
        ("cityscapes/legacy", 36, 512, 6, 31.7),
        ("cityscapes/gan-compression", 36, 512, 6, 31.2),
        ("cityscapes/fast", 36, 512, 6, 31.3),
        (None, 184, 256, 5, 191),
        ("coco/fast", 184, 256, 5, 35.5),
    ],
)
def test_spade_multiply_adds_are_the_published(name, channels, width, ups, macs) -> None:
    widths = published_widths("spade", name) if name else (64,) * 8
    shape = SpadeShape(
        channels, widths=widths, mobile=name is not None, upsamplings=ups, norm="instance"
    )
    with torch.device("meta"):
        found = count_macs(SpadeGenerator(shape), torch.zeros(1, channels, 256, width))
    assert round(found.torchprofile / 1e9, 0 if macs > 100 else 1) == macs


RESNETS = {
    "mobile": ResnetShape(1, 1, (24,) * 8, blocks=6, separable=MOBILE, clamp_input=True),
    "dense": ResnetShape(2, 3, (12,) * 8, blocks=4),
    "all separable": ResnetShape(1, 1, (12,) * 8, blocks=3, separable=("down", "blocks", "up")),
    "uneven": ResnetShape(1, 1, (12, 10, 8, 6, 12, 4, 10, 8), blocks=5, first_of_third=True),
}


def resnet_supernet(shape: ResnetShape, x: torch.Tensor) -> ElasticNetwork:
    return make_elastic(
        ResnetGenerator(shape).eval(),
        (x,),
        resnet.elastic_entries(shape),
        full=resnet.full_widths(shape),
        taps=resnet.tap_paths(shape),
    )


def random_widths(full: tuple[int, ...], rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randint(1, width) for width in full)


@torch.no_grad()
@pytest.mark.parametrize("shape", RESNETS.values(), ids=RESNETS)
def test_resnet_supernet_equals_its_subnets(shape: ResnetShape) -> None:
    rng = random.Random(0)
    x = 2 * torch.randn(2, shape.in_channels, 16, 16)  # beyond [-1, 1]: the clamp matters
    network = ResnetGenerator(shape).eval()
    whole = network(x)
    names = list(network.state_dict())
    supernet = make_elastic(
        network, (x,), resnet.elastic_entries(shape), full=resnet.full_widths(shape)
    )
    assert list(supernet.network.state_dict()) == names
    assert supernet.plan.full == shape.widths
    assert torch.equal(supernet(x, shape.widths), whole)
    for _ in range(3):
        widths = random_widths(shape.widths, rng)
        small = extract(supernet, widths)
        assert not any(type(m).__name__.startswith("Elastic") for m in small.modules())
        assert torch.equal(supernet(x, widths), small(x))
        rebuilt = ResnetGenerator(shape.with_widths(widths)).eval()
        rebuilt.load_state_dict(small.state_dict())
        assert torch.equal(rebuilt(x), small(x))


@torch.no_grad()
@pytest.mark.parametrize(
    ("norm", "mobile", "ups"),
    [("batch", False, 3), ("instance", True, 3), ("instance", True, 4)],  # of 16: one pixel
)
def test_spade_supernet_equals_its_subnets(norm: str, mobile: bool, ups: int) -> None:
    rng = random.Random(1)
    shape = SpadeShape(4, 1, (4,) * 8, mobile=mobile, upsamplings=ups, norm=norm)
    seg = torch.eye(4)[torch.randint(4, (2, 16, 16))].permute(0, 3, 1, 2)
    network = SpadeGenerator(shape).eval()
    whole = network(seg)
    supernet = make_elastic(
        network, (seg,), spade.elastic_entries(), full=spade.full_widths(shape), taps=spade.TAPS
    )
    assert torch.equal(supernet(seg, shape.widths), whole)
    for _ in range(3):
        widths = random_widths(shape.widths, rng)
        small = extract(supernet, widths)
        assert torch.equal(supernet(seg, widths), small(seg))
        rebuilt = SpadeGenerator(shape.with_widths(widths)).eval()
        rebuilt.load_state_dict(small.state_dict())
        assert torch.equal(rebuilt(seg), small(seg))


def test_gradients_reach_only_the_kept_channels() -> None:
    shape = RESNETS["mobile"]
    x = torch.randn(1, 1, 16, 16)
    supernet = resnet_supernet(shape, x)
    widths = (8, 24, 24, 24, 24, 24, 24, 24)
    supernet(x, widths).square().mean().backward()
    gradient = supernet.network.get_parameter("model.1.weight").grad
    assert gradient is not None
    assert gradient[:8].abs().amax((1, 2, 3)).min() > 0
    assert gradient[8:].abs().max() == 0


def test_the_clamp_is_part_of_the_shape() -> None:
    x = 3 * torch.randn(1, 1, 16, 16)
    network = ResnetGenerator(RESNETS["mobile"]).eval()
    assert torch.equal(network(x), network(x.clamp(-1, 1)))
    network.shape = ResnetShape(1, 1, (24,) * 8, blocks=6, separable=MOBILE)
    assert not torch.equal(network(x), network(x.clamp(-1, 1)))


def test_taps_are_the_published_ones() -> None:
    assert resnet.tap_paths(ResnetShape()) == ("model.9", "model.12", "model.15", "model.18")
    network = ResnetGenerator(RESNETS["mobile"])
    paths = resnet.tap_paths(network.shape)
    assert paths == ("model.9", "model.11", "model.13", "model.15")
    assert isinstance(network.get_submodule("model.9"), torch.nn.ReLU)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResnetGenerator(ResnetShape(widths=(8,) * 7)), "eight positive integers"),
        (lambda: ResnetGenerator(ResnetShape(blocks=2)), "at least 3"),
        (lambda: ResnetGenerator(RESNETS["dense"])(torch.zeros(1, 2, 16, 18)), "multiples of 4"),
        (lambda: resnet.widths_of((8,) * 7), "7 widths"),
        (lambda: SpadeGenerator(SpadeShape(widths=(8,) * 9)), "eight positive integers"),
        (
            lambda: SpadeGenerator(SpadeShape(4, widths=(4,) * 8))(torch.zeros(1, 4, 48, 64)),
            "multiples of 32",
        ),
    ],
)
def test_what_does_not_fit_is_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
