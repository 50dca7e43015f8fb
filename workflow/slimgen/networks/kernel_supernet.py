"""A U-Net that holds separate weights for every kernel size of every ResBlock conv.

`supernet(x, t, arch)` computes one path, `extract(supernet, arch)` returns it as an ordinary
network with equal output. Nothing is ever "active": an arch is a value, block name -> choices
(Tang et al. 2023, single path as in Guo et al. 2020; weights of different sizes are not shared).

With more than one inner width every ResBlock also chooses how many channels lie between its two
convs. Widths do share weights: a narrower ResBlock has the first channels of the widest one, in
whole groups of its GroupNorm, by the elastic layers of GAN Compression's search.

A block is compiled into a program: fixed steps between its choices. One path runs it from end to
end; a search over all paths stops before a choice and tries every value from the same state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn

from slimgen.networks.block_choices import Choices, kernels_of, resblocks, widths_of
from slimgen.networks.choice_layers import (
    ChoiceConv2d,
    WidthChoice,
    chosen_layers,
    has_widths,
    inner_widths,
    make_elastic,
    time_shift,
)
from slimgen.networks.searched_unet import (
    SearchedUNet2DModel,
    searchable_convs,
    unet_config,
)
from slimgen.networks.unet_blocks import (
    BlockInputs,
    Outputs,
    check_blocks,
    named_blocks,
    named_resnets,
    walk,
)

Arch = Mapping[str, Sequence[int]]  # block -> its choices: see `block_choices`


@dataclass(frozen=True)
class BlockState:
    """Where the computation of a block stands."""

    hidden: torch.Tensor  # (n, c, h, w), what flows
    residual: torch.Tensor  # the current ResBlock's input
    temb: torch.Tensor  # (n, e)
    skips: Outputs  # incoming skips that are still to be used
    outputs: Outputs = ()  # what the block returns
    width: int | None = None  # outputs of the next conv, None for all


Step = Callable[[BlockState], BlockState]
Place = ChoiceConv2d | WidthChoice


@dataclass(frozen=True)
class Program:
    """A block as `places` where it chooses, with fixed steps before, between and after them."""

    segments: tuple[tuple[Step, ...], ...]  # one more than places
    places: tuple[Place, ...]

    def start(self, inputs: BlockInputs) -> BlockState:
        """Return the state before the first choice."""
        state = BlockState(inputs.hidden, inputs.hidden, inputs.temb, inputs.skips)
        return self._fixed(0, state)

    def advance(self, position: int, choice: int, state: BlockState) -> BlockState:
        """Return the state after `choice` at a position and all fixed steps behind it.

        The choice is the size of a conv, or the width that the next one is given.
        """
        place = self.places[position]
        if isinstance(place, WidthChoice):
            state = replace(state, width=choice)
        else:
            hidden = place(state.hidden, choice, state.width)
            state = replace(state, hidden=hidden, width=None)
        return self._fixed(position + 1, state)

    def run(self, inputs: BlockInputs, choices: Sequence[int]) -> Outputs:
        """Return every tensor that the block returns on the path `choices`."""
        if len(choices) != len(self.places):
            raise ValueError(f"{list(choices)}: the block has {len(self.places)} choices")
        state = self.start(inputs)
        for position, choice in enumerate(choices):
            state = self.advance(position, choice, state)
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
    steps: list[Step | Place] = []
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


def _split(steps: list[Step | Place]) -> Program:
    segments: list[list[Step]] = [[]]
    places: list[Place] = []
    for step in steps:
        if isinstance(step, Place):
            places.append(step)
            segments.append([])
        else:
            segments[-1].append(step)
    return Program(tuple(tuple(segment) for segment in segments), tuple(places))


def _resnet_steps(resnet: ResnetBlock2D) -> list[Step | Place]:
    return [
        partial(_before_conv1, resnet),
        *([WidthChoice()] if has_widths(resnet) else []),
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
    temb = time_shift(resnet, temb, state.hidden.shape[1])[:, :, None, None]
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

    `fractions` are the inner widths that a ResBlock can have, of the U-Net's own. With the own one
    alone no width is a choice, and no layer is elastic.

    With `own_time` each block has a time embedding of its own beside it, the one that it was
    trained with (the derived code trains one along, so that it differs from block to block). Raises
    ValueError for a U-Net with blocks of other kinds, and for a fraction that is no whole groups.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        kernels: Sequence[int],
        *,
        fractions: Sequence[float] = (1.0,),
        own_time: bool = False,
    ) -> None:
        super().__init__()
        check_blocks(unet)
        self.kernels, self.own_time = tuple(kernels), own_time
        self.fractions = tuple(fractions)
        self.with_widths = self.fractions != (1.0,)
        self.widths: dict[str, tuple[Choices, ...]] = {}  # block -> choices of each ResBlock
        if self.with_widths:
            self.widths = inner_widths(unet, self.fractions)
        for places in searchable_convs(unet).values():
            for resnet, conv in places:
                setattr(resnet, conv, ChoiceConv2d(getattr(resnet, conv), kernels))
        if self.with_widths:
            for block in named_blocks(unet).values():
                for path, resnet in named_resnets(block).items():
                    make_elastic(resnet, path)
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
        """Return block -> number of its convs, each of which chooses a kernel size."""
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

    def run_block(self, name: str, inputs: BlockInputs, choices: Sequence[int]) -> Outputs:
        """Return every tensor that block `name` returns on the path `choices`."""
        return self.program(name).run(inputs, choices)

    def forward(self, x: torch.Tensor, t: torch.Tensor, arch: Arch) -> torch.Tensor:
        """Return the prediction (n, c, h, w) of the subnet `arch` for x (n, c, h, w) at t (n,)."""
        return walk(self.unet, x, t, lambda name, inputs: self.run_block(name, inputs, arch[name]))


def extract(supernet: KernelSupernet, arch: Arch) -> SearchedUNet2DModel:
    """Return the subnet `arch` as a network of its own (copied weights, same device and mode)."""
    both = supernet.with_widths
    kernels = {name: kernels_of(choices, with_widths=both) for name, choices in arch.items()}
    widths = {name: widths_of(choices) for name, choices in arch.items()} if both else None
    network = SearchedUNet2DModel(kernels, widths, **unet_config(supernet.unet))
    weights = {n: w for n, w in supernet.unet.state_dict().items() if ".convs." not in n}
    for name, block in supernet.blocks.items():
        chosen = resblocks(arch[name], with_widths=both)
        for (path, resnet), choices in zip(named_resnets(block).items(), chosen, strict=True):
            for part, layer in chosen_layers(resnet, choices).items():
                for tensor, value in layer.state_dict().items():
                    weights[f"{name}.{path}.{part}.{tensor}"] = value
    network.load_state_dict(weights)
    nn.Module.to(network, next(supernet.parameters()).device)
    return network.train(supernet.training)
