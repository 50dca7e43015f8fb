"""AutoGAN's generator: all architectures of a space with shared weights, or one of them alone.

z -> Linear -> (C, b, b) -> cells, each doubling the width -> BN, ReLU, conv 3x3, tanh

One cell (Gong et al. 2019), U its upsampling:
    h   = conv1(x)                                    norm, ReLU before or after; U inside
    h   = h + sum over skips i of conv1x1_i(U(h_i))
    out = conv2(h) [+ conv1x1(U(x))]
What later cells receive as h_i is conv1's output before the skips are added (`skip_source` conv,
the paper's figure), or after it (`sum`: the release adds in place, so its numbers have this).

The shared generator holds every alternative. Before and after the activation have weights of their
own; normalisations share the conv; transposed convs come on top. As in the release, they exist also
where no architecture uses them (in conv2, and the skips' in every cell): the parameters counted are
210 C^2 + 66 C + 129 * 16 C + 2 C + 27 C + 3 for 3 cells, bottom width 4 and 3 channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

from slimgen.config.autogan import SkipSource
from slimgen.data.files import write_json
from slimgen.networks.autogan_arch import CONVS, Arch, Cell, Norm, Up
from slimgen.networks.gan_init import init_weights
from slimgen.networks.stored import load_stored, save_network, stored_class

PROCESS = {"kind": "gan"}  # process.json: an image is network(z)


def deconvs(width: int, doublings: int) -> nn.ModuleList:
    """Return transposed convs that double an image `doublings` times."""
    return nn.ModuleList(
        nn.ConvTranspose2d(width, width, kernel_size=2, stride=2) for _ in range(doublings)
    )


def enlarge(
    x: torch.Tensor, up: Up, *, doublings: int, deconvs: Iterable[nn.Module]
) -> torch.Tensor:
    """Return x (n, c, h, w) enlarged to (n, c, h * 2^doublings, w * 2^doublings)."""
    if up != "deconv":
        return F.interpolate(x, scale_factor=float(2**doublings), mode=up)
    for deconv in deconvs:
        x = deconv(x)
    return x


class ConvBlock(nn.Module):
    """Normalisation, ReLU, upsampling and a 3x3 conv, in the order that a cell chooses."""

    def __init__(self, width: int, *, norm: bool, deconv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else None
        self.deconvs = deconvs(width, int(deconv))

    def forward(self, x: torch.Tensor, cell: Cell, *, doublings: int) -> torch.Tensor:
        """Return (n, c, h, w) enlarged `doublings` times and convolved."""
        if cell.conv == "pre":
            x = F.relu(self.normalise(x, cell.norm))
        if doublings:
            x = enlarge(x, cell.up, doublings=doublings, deconvs=self.deconvs)
        x = self.conv(x)
        return x if cell.conv == "pre" else F.relu(self.normalise(x, cell.norm))

    def normalise(self, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return x under the chosen normalisation; instance norm has no weights."""
        if norm == "bn":
            assert self.norm is not None
            return self.norm(x)
        return F.instance_norm(x) if norm == "in" else x


class GeneratorCell(nn.Module):
    """Cell number `index`, with the weights that `only` uses, or with those of every choice."""

    def __init__(self, width: int, *, index: int, cells: int, only: Cell | None) -> None:
        super().__init__()
        self.index = index
        convs = CONVS if only is None else (only.conv,)
        norm = only is None or only.norm == "bn"
        deconv = only is None or only.up == "deconv"
        shortcut = only is None or only.shortcut
        sources = range(index) if only is None else [i for i in range(index) if only.skips[i]]
        reach = range(1, cells) if only is None else sorted(index - i for i in sources)

        self.first = nn.ModuleDict(
            {conv: ConvBlock(width, norm=norm, deconv=deconv) for conv in convs}
        )
        self.second = nn.ModuleDict(
            {conv: ConvBlock(width, norm=norm, deconv=only is None) for conv in convs}
        )
        self.shortcut = nn.Conv2d(width, width, 1) if shortcut else None
        self.shortcut_deconvs = deconvs(width, int(shortcut and deconv))
        self.skips = nn.ModuleDict({str(i): nn.Conv2d(width, width, 1) for i in sources})
        self.skip_deconvs = nn.ModuleDict(
            {str(k): deconvs(width, k) for k in reach} if deconv else {}
        )

    def forward(
        self, x: torch.Tensor, features: Sequence[torch.Tensor], cell: Cell, source: SkipSource
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what later cells receive and what the next one continues, (n, c, 2 h, 2 w)."""
        h = feature = self.first[cell.conv](x, cell, doublings=1)
        for i in (i for i, skip in enumerate(cell.skips) if skip):
            chain: Any = self.skip_deconvs[str(self.index - i)] if cell.up == "deconv" else ()
            resized = enlarge(features[i], cell.up, doublings=self.index - i, deconvs=chain)
            h = h + self.skips[str(i)](resized)  # never in place: h_i may be needed as it was
        out = self.second[cell.conv](h, cell, doublings=0)
        if cell.shortcut:
            assert self.shortcut is not None
            resized = enlarge(x, cell.up, doublings=1, deconvs=self.shortcut_deconvs)
            out = out + self.shortcut(resized)
        return (feature if source == "conv" else h), out


def make_to_rgb(width: int, channels: int) -> nn.Sequential:
    """Return the output head, one for all stages."""
    conv = nn.Conv2d(width, channels, 3, padding=1)
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv, nn.Tanh())


def synthesise(network: Any, z: torch.Tensor, arch: Arch) -> torch.Tensor:
    """Return the images of z through the cells of `arch`."""
    b = network.bottom_width
    x, features = network.linear(z).view(len(z), -1, b, b), list[torch.Tensor]()
    for module, cell in zip(network.cells, arch.cells, strict=False):
        feature, x = module(x, features, cell, network.skip_source)
        features.append(feature)
    return network.to_rgb(x)


class SharedGenerator(nn.Module):
    """`shared(z, arch)`: z (n, z_dim) to images (n, channels, s, s), s = bottom_width 2^len(arch).

    A partial architecture uses the first cells; the head is the same for all.
    """

    def __init__(
        self,
        *,
        width: int,
        cells: int,
        bottom_width: int,
        z_dim: int = 128,
        channels: int = 3,
        skip_source: SkipSource = "conv",
    ) -> None:
        super().__init__()
        self.width, self.bottom_width, self.z_dim = width, bottom_width, z_dim
        self.channels, self.skip_source = channels, skip_source
        self.linear = nn.Linear(z_dim, bottom_width**2 * width)
        self.cells = nn.ModuleList(
            GeneratorCell(width, index=i, cells=cells, only=None) for i in range(cells)
        )
        self.to_rgb = make_to_rgb(width, channels)
        init_weights(self)

    def forward(self, z: torch.Tensor, arch: Arch) -> torch.Tensor:
        """Return images in [-1, 1].

        Raises ValueError for an architecture of more cells than there are.
        """
        if not 1 <= len(arch) <= len(self.cells):
            raise ValueError(f"an architecture of {len(arch)} cells; there are {len(self.cells)}")
        return synthesise(self, z, arch)


class AutoGanGenerator(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """One architecture alone: z (n, z_dim) to images (n, channels, s, s) in [-1, 1].

    `code` are the integers of the architecture; config.json holds them and all else.
    """

    @register_to_config
    def __init__(
        self,
        code: Sequence[int],
        width: int,
        bottom_width: int,
        z_dim: int = 128,
        channels: int = 3,
        skip_source: SkipSource = "conv",
    ) -> None:
        super().__init__()
        self.arch = Arch.from_code(code)
        self.bottom_width, self.z_dim, self.channels = bottom_width, z_dim, channels
        self.skip_source, cells = skip_source, len(self.arch)
        self.linear = nn.Linear(z_dim, bottom_width**2 * width)
        self.cells = nn.ModuleList(
            GeneratorCell(width, index=i, cells=cells, only=cell)
            for i, cell in enumerate(self.arch.cells)
        )
        self.to_rgb = make_to_rgb(width, channels)
        init_weights(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width) of its images."""
        size = self.bottom_width * 2 ** len(self.arch)
        return self.channels, size, size

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the images of z."""
        return synthesise(self, z, self.arch)


def extract(shared: SharedGenerator, arch: Arch) -> AutoGanGenerator:
    """Return the generator of `arch` with a copy of its shared weights: the same images."""
    with torch.device("meta"):
        network = AutoGanGenerator(
            code=list(arch.code),
            width=shared.width,
            bottom_width=shared.bottom_width,
            z_dim=shared.z_dim,
            channels=shared.channels,
            skip_source=shared.skip_source,
        )
    weights = shared.state_dict()
    copies = {name: weights[name].clone() for name in network.state_dict()}
    network.load_state_dict(copies, assign=True)
    return network.train(shared.training)


def save_generator(folder: Path, network: AutoGanGenerator) -> None:
    """Write config.json, weights and process.json; each file appears whole or not at all."""
    save_network(folder, network)
    write_json(folder / "process.json", PROCESS)


def load_generator(folder: Path, device: torch.device | str = "cpu") -> AutoGanGenerator:
    """Read a generator in eval mode; nothing is unpickled or downloaded.

    Raises ModelError naming the file that is missing, damaged or of another kind.
    """
    stored_class(folder, ("AutoGanGenerator",))
    network = load_stored(folder, AutoGanGenerator, device)
    assert isinstance(network, AutoGanGenerator)
    return network
