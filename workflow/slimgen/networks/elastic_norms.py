"""Elastic normalisation: InstanceNorm, GroupNorm and BatchNorm of the first channels.

GroupNorm keeps its channels per group. BatchNorm's running statistics are those of whatever subnets
trained last: a subnet of it needs `calibrate` before it is used (Li et al. 2020 re-estimate them on
part of the training set). InstanceNorm and GroupNorm have no such state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.networks.elastic import (
    Kept,
    Width,
    keep,
    keep_optional,
    kept_channels,
    per_group,
    put,
    resolve,
    set_parameters,
)
from slimgen.networks.instance_norm import AnySizeInstanceNorm2d, instance_norm


class ElasticInstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation of the kept channels."""

    ordinary: ClassVar[type[nn.InstanceNorm2d]] = nn.InstanceNorm2d

    def forward(self, x: torch.Tensor, *, inputs: Width = None) -> torch.Tensor:
        """Return x (n, c, h, w) normalised over each image's pixels."""
        kept = resolve(inputs, full=self.num_features, default=x.shape[1])
        weight, bias = keep_optional(self.weight, kept), keep_optional(self.bias, kept)
        return instance_norm(x, weight, bias, self.eps)

    def extract(self, inputs: Kept) -> nn.InstanceNorm2d:
        """Return the ordinary layer of the kept channels (copied weights)."""
        layer = self.ordinary(
            kept_channels(inputs), eps=self.eps, affine=self.affine, device="meta"
        )
        weight, bias = (keep_optional(t, inputs) for t in (self.weight, self.bias))
        set_parameters(layer, self, weight, bias)
        return layer.train(self.training)


class ElasticAnySizeInstanceNorm2d(ElasticInstanceNorm2d):
    """Of the kept channels, and of images of one pixel too."""

    ordinary = AnySizeInstanceNorm2d


class ElasticGroupNorm(nn.GroupNorm):
    """Group normalisation of the kept channels, in groups of the same size."""

    def groups_of(self, inputs: Kept) -> int:
        """Return the number of kept groups; raises ValueError where one would be torn."""
        return kept_channels(per_group(inputs, self.num_channels // self.num_groups, self))

    def forward(self, x: torch.Tensor, *, inputs: Width = None) -> torch.Tensor:
        """Return x (n, c, ...) normalised over each group."""
        kept = resolve(inputs, full=self.num_channels, default=x.shape[1])
        weight, bias = keep_optional(self.weight, kept), keep_optional(self.bias, kept)
        return F.group_norm(x, self.groups_of(kept), weight, bias, self.eps)

    def extract(self, inputs: Kept) -> nn.GroupNorm:
        """Return the ordinary layer of the kept channels (copied weights)."""
        layer = nn.GroupNorm(
            self.groups_of(inputs),
            kept_channels(inputs),
            eps=self.eps,
            affine=self.affine,
            device="meta",
        )
        weight, bias = (keep_optional(t, inputs) for t in (self.weight, self.bias))
        set_parameters(layer, self, weight, bias)
        return layer.train(self.training)


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of the kept channels; training updates their statistics alone."""

    def forward(self, x: torch.Tensor, *, inputs: Width = None) -> torch.Tensor:
        """Return x (n, c, h, w) normalised over the batch, or by the running statistics."""
        kept = resolve(inputs, full=self.num_features, default=x.shape[1])
        weight, bias = keep_optional(self.weight, kept), keep_optional(self.bias, kept)
        if self.running_mean is None or self.running_var is None:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)
        # Clones, since batch_norm writes into them; what it wrote is put back.
        mean, var = (keep(t, 0, kept).clone() for t in (self.running_mean, self.running_var))
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        y = F.batch_norm(x, mean, var, weight, bias, self.training, momentum or 0.0, self.eps)
        if self.training:
            put(self.running_mean, kept, mean)
            put(self.running_var, kept, var)
        return y

    def extract(self, inputs: Kept) -> nn.BatchNorm2d:
        """Return the ordinary layer of the kept channels (copied weights and statistics)."""
        layer = nn.BatchNorm2d(
            kept_channels(inputs),
            self.eps,
            self.momentum,
            self.affine,
            self.track_running_stats,
            device="meta",
        )
        weight, bias = (keep_optional(t, inputs) for t in (self.weight, self.bias))
        set_parameters(layer, self, weight, bias)
        for name in ("running_mean", "running_var"):
            values = getattr(self, name)
            setattr(layer, name, None if values is None else keep(values, 0, inputs).clone())
        if self.num_batches_tracked is not None:
            layer.num_batches_tracked = self.num_batches_tracked.clone()
        return layer.train(self.training)


def norms_to_calibrate(network: nn.Module) -> list[str]:
    """Return the paths of the layers whose running statistics a subnet must measure anew."""
    return [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Measure all running statistics anew: the mean over `batches` of each batch's statistics.

    Leaves everything else, and each module's mode, as it was. Raises ValueError where there are
    statistics to measure and no batch.
    """
    norms = [network.get_submodule(path) for path in norms_to_calibrate(network)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    seen = 0
    try:
        for norm in norms:
            norm.reset_running_stats()  # type: ignore[operator]
            norm.train()
            norm.momentum = None  # type: ignore[assignment]  # the plain mean over batches
        for batch in batches:
            network(batch)
            seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    if not seen:
        raise ValueError(
            f"{norms_to_calibrate(network)[0]} normalises by running statistics: images are needed "
            "to calibrate it"
        )
