"""Saved models: a diffusers folder (config, safetensors, scheduler_config) and process.json.

A folder without process.json is taken as a diffusers DDPM: any such folder can be a teacher. A
GAN's generator has no schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin

from slimgen.data.files import write_json
from slimgen.diffusion.denoiser import (
    ConsistencyProcess,
    Denoiser,
    DiffusionProcess,
    GanProcess,
    OneStepProcess,
    Process,
    process_record,
)
from slimgen.diffusion.prediction import DIFFUSERS_NAMES
from slimgen.diffusion.schedule import Schedule
from slimgen.networks.autogan_generator import load_generator
from slimgen.networks.foreign import index_fault
from slimgen.networks.stored import (
    ModelError,
    load_stored,
    one_line,
    read_object,
    save_network,
    stored_class,
)
from slimgen.networks.unet import image_shape

UNETS = ("UNet2DModel", "SearchedUNet2DModel")
GENERATORS = ("AutoGanGenerator",)
SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
)


@dataclass(frozen=True)
class SavedModel:
    """A loaded network (eval mode) and how its output becomes an image."""

    network: ModelMixin
    process: Process

    def denoiser(self) -> Denoiser:
        """Return the denoiser of a diffusion or consistency model."""
        assert isinstance(self.process, DiffusionProcess | ConsistencyProcess)
        return Denoiser(self.network, self.process)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width) of its images.

        Raises ValueError where a U-Net's config does not say so.
        """
        network: Any = self.network
        return network.shape if isinstance(self.process, GanProcess) else image_shape(network)

    def noise_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the shape of the standard normal noise that images of (c, h, w) are made from."""
        network: Any = self.network
        return (network.z_dim,) if isinstance(self.process, GanProcess) else shape

    def inputs(
        self, batch: int, shape: tuple[int, int, int], device: torch.device
    ) -> tuple[torch.Tensor, ...]:
        """Return what one evaluation of the network takes for a batch of images (c, h, w)."""
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(batch, *self.noise_shape(shape), generator=rng).to(device)
        if isinstance(self.process, GanProcess):
            return (z,)
        return z, torch.ones(batch, device=device)


def save_model(folder: Path, network: Any, process: Process) -> None:
    """Write network and process; each file appears whole or not at all."""
    save_network(folder, network)
    write_json(folder / "process.json", process_record(process))
    if isinstance(process, DiffusionProcess | OneStepProcess):
        write_json(folder / "scheduler_config.json", scheduler_config(process))


def scheduler_config(process: DiffusionProcess | OneStepProcess) -> dict[str, Any]:
    """Return a diffusers DDIMScheduler config of the process (betas given explicitly)."""
    abar = process.schedule.alphas_cumprod
    previous = torch.cat([abar.new_ones(1), abar[:-1]])
    names = {ours: theirs for theirs, ours in DIFFUSERS_NAMES.items()}
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": len(abar),
        "trained_betas": (1 - abar / previous).tolist(),
        "prediction_type": names[process.prediction],
        "clip_sample": False,
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "timestep_spacing": "leading",
    }


def load_model(folder: Path, device: torch.device | str = "cpu") -> SavedModel:
    """Read a model of this project, or any diffusers DDPM folder (flat, or unet/ and scheduler/).

    Raises ModelError for a missing or damaged file and for a class that is not allowed.
    """
    index = folder / "model_index.json"
    if index.exists() and (fault := index_fault(read_object(index))):
        raise ModelError(f"{index}: {fault}")
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    name = stored_class(place, UNETS + GENERATORS)
    process = load_process(folder)
    if isinstance(process, GanProcess) != (name in GENERATORS):
        raise ModelError(f"{folder}: class {name!r} does not fit a process of kind {process.kind}")
    if isinstance(process, GanProcess):
        return SavedModel(load_generator(place, device), process)
    return SavedModel(load_network(place, device), process)


def load_diffusion(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[ModelMixin, DiffusionProcess]:
    """Read a model that can be a teacher: a network and its discrete-time diffusion.

    Raises ModelError as `load_model` does, and for a model of another kind.
    """
    saved = load_model(folder, device)
    if not isinstance(saved.process, DiffusionProcess):
        raise ModelError(f"{folder}: a {saved.process.kind} model is not a diffusion model")
    return saved.network, saved.process


def load_network(folder: Path, device: torch.device | str = "cpu") -> ModelMixin:
    """Read a U-Net from its config.json and safetensors; nothing is unpickled or downloaded.

    Raises ModelError for a missing or damaged file and for a class that is not allowed.
    """
    cls: Any
    if stored_class(folder, UNETS) == "UNet2DModel":
        from diffusers.models.unets.unet_2d import UNet2DModel as cls  # noqa: N813
    else:
        from slimgen.networks.searched_unet import SearchedUNet2DModel as cls  # noqa: N813
    network: ModelMixin = load_stored(folder, cls, device)
    return network


def load_process(folder: Path) -> Process:
    """Read how a model's output becomes an image."""
    record = read_object(folder / "process.json") if (folder / "process.json").exists() else {}
    kind = record.pop("kind", "diffusion")
    if kind == "consistency":
        try:
            return ConsistencyProcess(**record)
        except TypeError as error:
            raise ModelError(f"{folder / 'process.json'}: {one_line(error)}") from None
    if kind == "gan":
        return GanProcess()
    if kind not in ("diffusion", "one_step"):
        raise ModelError(
            f"{folder / 'process.json'}: kind {kind!r} is not known; "
            "it can be diffusion, one_step, consistency or gan"
        )
    nested = folder / "scheduler" / "scheduler_config.json"
    config = read_object(nested if nested.exists() else folder / "scheduler_config.json")
    if config.get("_class_name", SCHEDULERS[0]) not in SCHEDULERS:
        raise ModelError(
            f"{folder}: scheduler {config['_class_name']!r} is not one of a variance-preserving "
            f"diffusion; it can be {', '.join(SCHEDULERS)}"
        )
    schedule = _schedule(config, folder)
    prediction = DIFFUSERS_NAMES.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        raise ModelError(f"{folder}: prediction_type {config['prediction_type']!r} is not known")
    if kind == "one_step":
        return OneStepProcess(schedule, prediction)
    return DiffusionProcess(schedule, prediction)


def _schedule(config: dict[str, Any], folder: Path) -> Schedule:
    if config.get("rescale_betas_zero_snr"):
        raise ModelError(
            f"{folder}: scheduler_config.json: rescale_betas_zero_snr is not supported"
        )
    if config.get("trained_betas") is not None:
        try:
            betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{folder}: trained_betas: {one_line(error)}") from None
        if betas.dim() != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
            raise ModelError(f"{folder}: trained_betas are not at least two numbers in (0, 1)")
        return Schedule((1 - betas).cumprod(0))
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    try:
        scheduler = DDPMScheduler(**{key: config[key] for key in keys if key in config})
    except NotImplementedError as error:
        raise ModelError(f"{folder}: scheduler_config.json: {one_line(error)}") from None
    return Schedule((1 - scheduler.betas.double()).cumprod(0))
