"""A U-Net that holds separate weights for every kernel size of every ResBlock conv.

`supernet(x, t, arch)` computes one path, `extract(supernet, arch)` returns it as an ordinary
network with equal output. Nothing is ever "active": an arch is a value, block name -> kernel sizes
(Tang et al. 2023, single path as in Guo et al. 2020; weights of different sizes are not shared).

A block is compiled into a program: fixed steps between its choice convs. One path runs it from end
to end; a search over all paths stops before a conv and tries every size from the same state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.searched_unet import (
    Kernels,
    SearchedUNet2DModel,
    resized,
    searchable_convs,
    unet_config,
)
from slimgen.networks.unet_blocks import BlockInputs, Outputs, check_blocks, named_blocks, walk


class ChoiceConv2d(nn.Module):
    """One conv per kernel size in place of `conv`, each with random weights of its own."""

    def __init__(self, conv: nn.Conv2d, kernels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleDict({str(kernel): resized(conv, kernel) for kernel in kernels})

    def forward(self, x: torch.Tensor, kernel: int) -> torch.Tensor:
        """Return the conv of size `kernel` applied to x (n, c, h, w)."""
        return self.convs[str(kernel)](x)


@dataclass(frozen=True)
class BlockState:
    """Where the computation of a block stands."""

    hidden: torch.Tensor  # (n, c, h, w), what flows
    residual: torch.Tensor  # the current ResBlock's input
    temb: torch.Tensor  # (n, e)
    skips: Outputs  # incoming skips that are still to be used
    outputs: Outputs = ()  # what the block returns


Step = Callable[[BlockState], BlockState]


@dataclass(frozen=True)
class Program:
    """A block as `convs` with fixed steps before, between and after them."""

    segments: tuple[tuple[Step, ...], ...]  # one more than convs
    convs: tuple[ChoiceConv2d, ...]

    def start(self, inputs: BlockInputs) -> BlockState:
        """Return the state before the first conv."""
        state = BlockState(inputs.hidden, inputs.hidden, inputs.temb, inputs.skips)
        return self._fixed(0, state)

    def advance(self, position: int, kernel: int, state: BlockState) -> BlockState:
        """Return the state after conv `position` of size `kernel` and all fixed steps behind it."""
        hidden = self.convs[position](state.hidden, kernel)
        return self._fixed(position + 1, replace(state, hidden=hidden))

    def run(self, inputs: BlockInputs, kernels: Sequence[int]) -> Outputs:
        """Return every tensor that the block returns on the path `kernels`."""
        if len(kernels) != len(self.convs):
            raise ValueError(f"{list(kernels)}: the block has {len(self.convs)} choices")
        state = self.start(inputs)
        for position, kernel in enumerate(kernels):
            state = self.advance(position, kernel, state)
        return state.outputs

    def _fixed(self, segment: int, state: BlockState) -> BlockState:
        for step in self.segments[segment]:
            state = step(state)
        return state


def make_program(name: str, block: nn.Module) -> Program:
    """Return the program of a supernet block.

    Down: (resnet, attention, emit) ..., downsampler, emit. Mid: resnet, (attention, resnet) ...,
    emit. Up: (join a skip, resnet, attention) ..., upsampler, emit.
    """
    down, up = name.startswith("down"), name.startswith("up")
    resnets, attentions = list(block.resnets), list(getattr(block, "attentions", ()))  # type: ignore[arg-type]
    if not (down or up):
        attentions = [None, *attentions]  # the middle block attends before its later ResBlocks
    steps: list[Step | ChoiceConv2d] = []
    for i, resnet in enumerate(resnets):
        attention = attentions[i] if attentions else None
        attend = [] if attention is None else [partial(_apply, attention)]
        if down:
            steps += [*_resnet_steps(resnet), *attend, _emit]
        elif up:
            steps += [_join, *_resnet_steps(resnet), *attend]
        else:
            steps += [*attend, *_resnet_steps(resnet)]
    for sampler in getattr(block, "downsamplers" if down else "upsamplers", None) or ():
        resnet_sampler = isinstance(sampler, ResnetBlock2D)
        steps += _resnet_steps(sampler) if resnet_sampler else [partial(_apply, sampler)]
        steps += [_emit] if down else []
    if not down:
        steps.append(_emit)
    return _split(steps)


def _split(steps: list[Step | ChoiceConv2d]) -> Program:
    segments: list[list[Step]] = [[]]
    convs: list[ChoiceConv2d] = []
    for step in steps:
        if isinstance(step, ChoiceConv2d):
            convs.append(step)
            segments.append([])
        else:
            segments[-1].append(step)
    return Program(tuple(tuple(segment) for segment in segments), tuple(convs))


def _resnet_steps(resnet: ResnetBlock2D) -> list[Step | ChoiceConv2d]:
    return [
        partial(_before_conv1, resnet),
        resnet.conv1,  # type: ignore[list-item]
        partial(_before_conv2, resnet),
        resnet.conv2,  # type: ignore[list-item]
        partial(_after_conv2, resnet),
    ]


def _before_conv1(resnet: ResnetBlock2D, state: BlockState) -> BlockState:
    residual, hidden = state.hidden, resnet.nonlinearity(resnet.norm1(state.hidden))
    resample = resnet.upsample if resnet.upsample is not None else resnet.downsample
    if resample is not None:
        residual, hidden = resample(residual), resample(hidden)
    return replace(state, hidden=hidden, residual=residual)


def _before_conv2(resnet: ResnetBlock2D, state: BlockState) -> BlockState:
    temb = state.temb if resnet.skip_time_act else resnet.nonlinearity(state.temb)
    temb = resnet.time_emb_proj(temb)[:, :, None, None]
    if resnet.time_embedding_norm == "scale_shift":
        scale, shift = temb.chunk(2, dim=1)
        hidden = resnet.norm2(state.hidden) * (1 + scale) + shift
    else:
        hidden = resnet.norm2(state.hidden + temb)
    return replace(state, hidden=resnet.dropout(resnet.nonlinearity(hidden)))


def _after_conv2(resnet: ResnetBlock2D, state: BlockState) -> BlockState:
    residual = state.residual
    if resnet.conv_shortcut is not None:
        residual = resnet.conv_shortcut(residual)
    return replace(state, hidden=(residual + state.hidden) / resnet.output_scale_factor)


def _apply(module: nn.Module, state: BlockState) -> BlockState:
    return replace(state, hidden=module(state.hidden))


def _join(state: BlockState) -> BlockState:
    *rest, skip = state.skips
    return replace(state, hidden=torch.cat([state.hidden, skip], dim=1), skips=tuple(rest))


def _emit(state: BlockState) -> BlockState:
    return replace(state, outputs=(*state.outputs, state.hidden))


def key(block: str) -> str:
    """Return a block's name as a key of a ModuleDict (which may hold no dot)."""
    return block.replace(".", "_")


class KernelSupernet(nn.Module):
    """The supernet of a plain U-Net, which it takes over: its searchable convs become choices.

    With `own_time` each block has a time embedding of its own beside it, the one that it was
    trained with (the derived code trains one along, so that it differs from block to block). Raises
    ValueError for a U-Net with blocks of other kinds.
    """

    def __init__(
        self, unet: UNet2DModel, kernels: Sequence[int], *, own_time: bool = False
    ) -> None:
        super().__init__()
        check_blocks(unet)
        self.kernels, self.own_time = tuple(kernels), own_time
        for places in searchable_convs(unet).values():
            for resnet, conv in places:
                setattr(resnet, conv, ChoiceConv2d(getattr(resnet, conv), kernels))
        self.unet = unet
        self.time_embeddings = nn.ModuleDict(
            {key(name): copy.deepcopy(unet.time_embedding) for name in self.blocks if own_time}
        )

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """Return name -> block in the order of computation."""
        return named_blocks(self.unet)

    @property
    def positions(self) -> dict[str, int]:
        """Return block -> number of its choices."""
        return {name: len(places) for name, places in searchable_convs(self.unet).items()}

    def inputs(self, name: str, teacher: BlockInputs, t: torch.Tensor) -> BlockInputs:
        """Return what block `name` is trained and scored on: the teacher's inputs at t (n,).

        With `own_time` the time embedding is the block's own.
        """
        if not self.own_time:
            return teacher
        embedded = self.unet.time_proj(t).to(self.unet.conv_in.weight.dtype)
        return replace(teacher, temb=self.time_embeddings[key(name)](embedded))

    def program(self, name: str) -> Program:
        """Return the program of one block."""
        return make_program(name, self.blocks[name])

    def run_block(self, name: str, inputs: BlockInputs, kernels: Sequence[int]) -> Outputs:
        """Return every tensor that block `name` returns on the path `kernels`."""
        return self.program(name).run(inputs, kernels)

    def forward(self, x: torch.Tensor, t: torch.Tensor, arch: Kernels) -> torch.Tensor:
        """Return the prediction (n, c, h, w) of the subnet `arch` for x (n, c, h, w) at t (n,)."""
        return walk(self.unet, x, t, lambda name, inputs: self.run_block(name, inputs, arch[name]))


def extract(supernet: KernelSupernet, arch: Kernels) -> SearchedUNet2DModel:
    """Return the subnet `arch` as a network of its own (copied weights, same device and mode)."""
    network = SearchedUNet2DModel(kernels=arch, **unet_config(supernet.unet))
    chosen = dict(supernet.unet.state_dict())
    for name in [name for name in chosen if ".convs." in name]:
        where, _, rest = name.partition(".convs.")
        kernel, _, tensor = rest.partition(".")
        value = chosen.pop(name)
        if int(kernel) == chosen_kernel(network, where):
            chosen[f"{where}.{tensor}"] = value
    network.load_state_dict(chosen)
    nn.Module.to(network, next(supernet.parameters()).device)
    return network.train(supernet.training)


def chosen_kernel(network: SearchedUNet2DModel, conv: str) -> int:
    """Return the kernel size of a network's conv, given by its dotted name."""
    module = network.get_submodule(conv)
    assert isinstance(module, nn.Conv2d)
    return int(module.kernel_size[0])
