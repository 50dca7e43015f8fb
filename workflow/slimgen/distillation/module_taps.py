"""Distillation from any module of any network: taps by dotted path, 1x1 adapters on the student.

GAN Compression (Li et al. 2020): L_distill = sum over taps t of mean (f_t(G_t(x)) - G'_t(x))^2,
with f_t a learned 1x1 convolution from the student's channels to the teacher's. The paper prints a
2-norm and, in its first versions, the adapter on the teacher; its code has this, and the author
confirmed it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from slimgen.networks.elastic import ElasticConv2d, Width
from slimgen.networks.module_paths import module_at

Features = dict[str, torch.Tensor]  # path -> output (n, c, h, w)


@contextlib.contextmanager
def tapped(network: nn.Module, paths: Sequence[str]) -> Iterator[Features]:
    """Collect the outputs of the modules at `paths` in every forward pass inside the block.

    The last pass's stay. Raises ValueError, before anything runs, for a path that does not exist
    (listing near names); in the pass, where an output is no map (n, c, h, w).
    """
    features: Features = {}

    def collect(path: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor) or output.dim() != 4:
                raise ValueError(f"the tap {path} returns no (n, c, h, w) tensor")
            features[path] = output

        return hook

    modules = {path: module_at(network, path) for path in paths}
    handles = [module.register_forward_hook(collect(path)) for path, module in modules.items()]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def tap_channels(network: nn.Module, paths: Sequence[str], *inputs: Any) -> dict[str, int]:
    """Return the number of channels at each tap, from one forward pass on a sample."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with tapped(network, paths) as features:
            network(*inputs)
    finally:
        for module, mode in modes.items():
            module.training = mode
    missing = [path for path in paths if path not in features]
    if missing:
        raise ValueError(f"the tap {missing[0]} is not reached")
    return {path: features[path].shape[1] for path in paths}


class Adapters(nn.Module):
    """One 1x1 convolution per tap, from the student's channels to the teacher's.

    For a supernet give the channels of its full width: of narrower features a tap uses the first
    columns, or the ones that `kept` says (a tap on concatenated channels).
    """

    def __init__(self, student: Mapping[str, int], teacher: Mapping[str, int]) -> None:
        super().__init__()
        if len(student) != len(teacher) or not student:
            raise ValueError(f"{len(student)} taps of the student, {len(teacher)} of the teacher")
        self.pairs = tuple(zip(student, teacher, strict=True))  # (student's path, teacher's path)
        self.convs = nn.ModuleList(ElasticConv2d(student[s], teacher[t], 1) for s, t in self.pairs)

    def forward(
        self, features: Mapping[str, torch.Tensor], kept: Mapping[str, Width] | None = None
    ) -> list[torch.Tensor]:
        """Return the adapted student's features, in the order of the taps."""
        return [
            conv(features[path], inputs=(kept or {}).get(path))
            for (path, _), conv in zip(self.pairs, self.convs, strict=True)
        ]


def distillation_loss(
    adapters: Adapters,
    student: Mapping[str, torch.Tensor],
    teacher: Mapping[str, torch.Tensor],
    *,
    kept: Mapping[str, Width] | None = None,
) -> torch.Tensor:
    """Return L_distill, a scalar; no gradient reaches the teacher."""
    errors = [
        F.mse_loss(adapted.float(), teacher[path].detach().float())
        for (_, path), adapted in zip(adapters.pairs, adapters(student, kept), strict=True)
    ]
    return torch.stack(errors).sum()
