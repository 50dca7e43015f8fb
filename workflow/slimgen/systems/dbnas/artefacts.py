"""What passes between the stages of DBNAS: the teacher, a saved supernet, arch.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.data.dataset import Images
from slimgen.data.files import read_json, write_json
from slimgen.diffusion.denoiser import DiffusionProcess
from slimgen.diffusion.saved import load_diffusion
from slimgen.networks.kernel_supernet import KernelSupernet
from slimgen.networks.searched_unet import unet_config
from slimgen.networks.stored import ModelError
from slimgen.networks.tensor_file import absent, load_weights, save_tensors
from slimgen.networks.unet import image_shape
from slimgen.networks.unet_blocks import check_blocks
from slimgen.search.space import Arch, SearchSpace
from slimgen.training.job import StageError

WEIGHTS = "supernet.safetensors"


def load_teacher(
    folder: Path, images: Images, device: torch.device | str
) -> tuple[UNet2DModel, DiffusionProcess]:
    """Return the teacher (eval mode, no gradients) and its diffusion.

    Raises StageError where it cannot be read, has parts that cannot be searched or does not fit the
    images.
    """
    try:
        network, process = load_diffusion(folder, device)
        if type(network) is not UNet2DModel:
            raise ModelError("it is itself a searched U-Net; a plain UNet2DModel is needed")
        unet = cast(UNet2DModel, network)
        check_blocks(unet)
        shape = image_shape(unet)
    except (ModelError, ValueError) as error:
        raise StageError(f"teacher {folder}: {error}") from None
    if shape != images.shape:
        raise StageError(
            f"teacher {folder}: made for images of (channels, height, width) {shape}; "
            f"those of the data set are {images.shape}"
        )
    unet.requires_grad_(False)
    return unet, process


def plain_config(unet: UNet2DModel) -> dict[str, Any]:
    """Return the U-Net's constructor arguments as JSON values."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in unet_config(unet).items()
    }


def save_supernet(folder: Path, supernet: KernelSupernet) -> None:
    """Write supernet.safetensors and config.json; each appears whole or not at all."""
    save_tensors(folder / WEIGHTS, supernet.state_dict())
    record: dict[str, Any] = {
        "system": "dbnas",
        "kernels": list(supernet.kernels),
        "own_time": supernet.own_time,
        "positions": supernet.positions,
        "unet": plain_config(supernet.unet),
    }
    if supernet.with_widths:
        record["widths"] = list(supernet.fractions)
    write_json(folder / "config.json", record)


def load_supernet(folder: Path, device: torch.device | str = "cpu") -> KernelSupernet:
    """Return a saved supernet in eval mode.

    Raises StageError where a file is missing or damaged.
    """
    for name in ("config.json", WEIGHTS):
        if fault := absent(folder / name):
            raise StageError(f"supernet {fault}")
    try:
        record = read_json(folder / "config.json")
        unet = UNet2DModel(**record["unet"])
        supernet = KernelSupernet(
            unet,
            record["kernels"],
            fractions=record.get("widths", (1.0,)),
            own_time=record["own_time"],
        )
        load_weights(folder / WEIGHTS, supernet)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StageError(f"supernet {folder}: it cannot be read ({reason})") from None
    return supernet.to(device).eval()


def space_of(supernet: KernelSupernet) -> SearchSpace:
    """Return the search space that the supernet spans."""
    positions, widths = supernet.positions.items(), supernet.widths.items()
    return SearchSpace(supernet.kernels, tuple(positions), tuple(widths))


def read_arch(path: Path) -> Arch:
    """Return the architecture of an arch.json (given itself or by its folder).

    Raises StageError where it is missing or holds none.
    """
    file = path / "arch.json" if path.is_dir() else path
    if not file.is_file():
        raise StageError(f"{file} does not exist")
    try:
        record = read_json(file)
        return Arch.of(record["kernels"], record.get("widths"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"{file}: it holds no architecture ({error})") from None
