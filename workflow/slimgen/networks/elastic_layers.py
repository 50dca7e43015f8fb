"""From ordinary layers to elastic ones: same parameters, and a width that comes with the call."""

from __future__ import annotations

from torch import nn

from slimgen.networks.elastic import ElasticConv2d, ElasticConvTranspose2d, ElasticLinear
from slimgen.networks.elastic_norms import (
    ElasticAnySizeInstanceNorm2d,
    ElasticBatchNorm2d,
    ElasticGroupNorm,
    ElasticInstanceNorm2d,
)
from slimgen.networks.instance_norm import AnySizeInstanceNorm2d

ELASTIC: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: ElasticConv2d,
    nn.ConvTranspose2d: ElasticConvTranspose2d,
    nn.Linear: ElasticLinear,
    nn.InstanceNorm2d: ElasticInstanceNorm2d,
    AnySizeInstanceNorm2d: ElasticAnySizeInstanceNorm2d,
    nn.GroupNorm: ElasticGroupNorm,
    nn.BatchNorm2d: ElasticBatchNorm2d,
}


def elastic(layer: nn.Module, path: str) -> nn.Module:
    """Return an elastic layer that takes over an ordinary layer's parameters and buffers.

    Raises ValueError for layers of other kinds, with hooks (old spectral or weight norm), and for
    InstanceNorm with running statistics.
    """
    kind = ELASTIC.get(type(layer))
    if kind is None:
        raise ValueError(f"{path} is a {type(layer).__name__}, which cannot be made elastic")
    if layer._forward_pre_hooks or layer._forward_hooks:
        raise ValueError(f"{path} has hooks (spectral or weight norm?): remove them first")
    if isinstance(layer, nn.InstanceNorm2d) and layer.track_running_stats:
        raise ValueError(f"{path} is an InstanceNorm2d with running statistics: not supported")
    # The elastic classes add methods and no state: the state is taken over whole, not copied.
    made = kind.__new__(kind)
    made.__dict__ = layer.__dict__
    return made
