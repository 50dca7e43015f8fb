"""Elastic layers against the ordinary full layer: absent channels are zeros, outputs are cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimgen.networks.elastic import Kept, keep
from slimgen.networks.elastic_norms import calibrate, norms_to_calibrate
from slimgen.networks.elastic_surgery import elastic
from slimgen.networks.instance_norm import AnySizeInstanceNorm2d


def scatter(x: torch.Tensor, kept: Kept, dim: int = 1) -> torch.Tensor:
    """Return x in an axis of all channels, the others zero."""
    parts, read = [], 0
    for full, count in kept:
        part = x.narrow(dim, read, count)
        shape = list(part.shape)
        shape[dim] = full - count
        parts += [part, torch.zeros(shape)]
        read += count
    return torch.cat(parts, dim)


DENSE = {
    "conv": nn.Conv2d(10, 6, 3, stride=2, padding=1),
    "reflect": nn.Conv2d(10, 6, 3, padding=1, padding_mode="reflect"),
    "no bias": nn.Conv2d(10, 6, 1, bias=False),
    "transposed": nn.ConvTranspose2d(10, 6, 3, stride=2, padding=1, output_padding=1),
}
INPUTS: list[Kept] = [((10, 10),), ((10, 4),), ((6, 2), (4, 3))]


@pytest.mark.parametrize("layer", DENSE.values(), ids=DENSE)
@pytest.mark.parametrize("inputs", INPUTS)
def test_dense_convs(layer: nn.Module, inputs: Kept) -> None:
    x = torch.randn(2, sum(count for _, count in inputs), 8, 8)
    made = elastic(layer, "layer")
    got = made(x, inputs=inputs, outputs=4)
    assert torch.allclose(got, layer(scatter(x, inputs))[:, :4], atol=1e-6)
    small = made.extract(inputs, 4)
    assert type(small) is type(layer)
    assert torch.equal(small(x), got)
    full = torch.randn(1, 10, 8, 8)
    assert torch.equal(made(full), layer(full))


GROUPED = {
    "depthwise": nn.Conv2d(12, 12, 3, padding=1, groups=12),
    "depthwise transposed": nn.ConvTranspose2d(12, 12, 3, stride=2, groups=12),
    "three groups": nn.Conv2d(12, 6, 3, groups=3),
    "three groups transposed": nn.ConvTranspose2d(12, 6, 3, groups=3),
}


@pytest.mark.parametrize("layer", GROUPED.values(), ids=GROUPED)
def test_grouped_convs_lose_whole_groups(layer: nn.Conv2d) -> None:
    x = torch.randn(2, 8, 6, 6)
    made = elastic(layer, "layer")
    outputs = layer.out_channels * 8 // 12
    got = made(x)
    assert got.shape[1] == outputs
    assert torch.allclose(got, layer(scatter(x, ((12, 8),)))[:, :outputs], atol=1e-6)
    small = made.extract(((12, 8),))
    assert small.in_channels // small.groups == layer.in_channels // layer.groups
    assert torch.equal(small(x), got)


def test_torn_groups_are_refused() -> None:
    conv = elastic(nn.Conv2d(12, 12, 3, groups=3), "layer")
    with pytest.raises(ValueError, match="4 channels per group"):
        conv(torch.zeros(1, 6, 4, 4))
    with pytest.raises(ValueError, match="has 8 outputs for 8 inputs, not 4"):
        conv(torch.zeros(1, 8, 4, 4), outputs=4)
    norm = elastic(nn.GroupNorm(4, 12), "layer")
    with pytest.raises(ValueError, match="3 channels per group"):
        norm(torch.zeros(1, 8, 4, 4))


def test_linear() -> None:
    layer = nn.Linear(10, 6)
    made = elastic(layer, "layer")
    x = torch.randn(3, 5)
    kept = ((6, 2), (4, 3))
    got = made(x, inputs=kept, outputs=4)
    assert torch.allclose(got, layer(scatter(x, kept))[:, :4], atol=1e-6)
    assert torch.equal(made.extract(kept, 4)(x), got)


def norms() -> dict[str, nn.Module]:
    made = {
        "instance": nn.InstanceNorm2d(12),
        "instance affine": nn.InstanceNorm2d(12, affine=True),
        "instance of any size": AnySizeInstanceNorm2d(12, affine=True),
        "group": nn.GroupNorm(6, 12),
        "batch": nn.BatchNorm2d(12).eval(),
        "batch without statistics": nn.BatchNorm2d(12, track_running_stats=False),
        "batch without parameters": nn.BatchNorm2d(12, affine=False).eval(),
    }
    for layer in made.values():
        for tensor in layer.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize(("name", "layer"), norms().items(), ids=lambda v: v if v is str else "")
@pytest.mark.parametrize("inputs", [((12, 6),), ((8, 4), (4, 2))])
def test_norms_are_those_of_the_full_layer(name: str, layer: nn.Module, inputs: Kept) -> None:
    x = torch.randn(3, 6, 5, 5)
    expected = keep(layer(scatter(x, inputs)), 1, inputs)
    made = elastic(layer, "layer")
    got = made(x, inputs=inputs)
    assert torch.allclose(got, expected, atol=1e-5), name
    small = made.extract(inputs)
    assert type(small) is type(layer)
    assert torch.equal(small(x), got)


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_of_any_size_is_torchs_and_of_one_pixel_its_bias(affine: bool) -> None:
    own, torchs = (kind(5, affine=affine) for kind in (AnySizeInstanceNorm2d, nn.InstanceNorm2d))
    if affine:
        nn.init.uniform_(own.bias)
        nn.init.uniform_(own.weight)
    torchs.load_state_dict(own.state_dict())
    x = torch.randn(3, 5, 4, 6)
    assert torch.equal(own(x), torchs(x))
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        torchs(x[:, :, :1, :1])
    bias = own.bias if affine else torch.zeros(5)
    assert torch.equal(own(x[:, :, :1, :1]), bias.view(1, 5, 1, 1).expand(3, 5, 1, 1))


def test_batch_norm_learns_the_statistics_of_the_kept_channels_alone() -> None:
    layer = nn.BatchNorm2d(6)
    before = layer.running_mean.clone()
    made = elastic(layer, "layer")
    kept = ((4, 2), (2, 1))
    x = torch.randn(4, 3, 5, 5) + 3
    made(x, inputs=kept)
    alone = nn.BatchNorm2d(3)
    alone(x)
    assert torch.allclose(keep(made.running_mean, 0, kept), alone.running_mean)
    assert torch.allclose(keep(made.running_var, 0, kept), alone.running_var)
    assert torch.equal(made.running_mean[[2, 3, 5]], before[[2, 3, 5]])
    assert int(made.num_batches_tracked) == 1


def test_calibration_measures_the_mean_over_batches_of_equal_size() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    batches = [torch.randn(8, 3, 4, 4) * 2 + 1 for _ in range(3)]
    calibrate(network, batches)
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(network[0].running_mean, expected, atol=1e-5)
    assert network[0].momentum == 0.1
    assert network.training
    assert norms_to_calibrate(network) == ["0"]


def test_calibration_without_images_is_refused_where_it_is_needed() -> None:
    calibrate(nn.Sequential(nn.InstanceNorm2d(3)), [])
    with pytest.raises(ValueError, match="0 normalises by running statistics: images are needed"):
        calibrate(nn.Sequential(nn.BatchNorm2d(3)), [])


def test_layers_that_cannot_be_elastic() -> None:
    with pytest.raises(ValueError, match=r"a\.b is a LayerNorm"):
        elastic(nn.LayerNorm(3), "a.b")
    with pytest.raises(ValueError, match="hooks"):
        elastic(nn.utils.spectral_norm(nn.Conv2d(3, 3, 1)), "conv")
    with pytest.raises(ValueError, match="running statistics"):
        elastic(nn.InstanceNorm2d(3, track_running_stats=True), "norm")


def test_keeping_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="of 4 channels"):
        keep(torch.zeros(4), 0, ((4, 5),))
    with pytest.raises(ValueError, match="of 4 channels"):
        keep(torch.zeros(4), 0, ((3, 2),))
