"""Saved models: a diffusers folder (config, safetensors, scheduler_config) and process.json.

A folder without process.json is taken as a diffusers DDPM: any such folder can be a teacher.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import logging as diffusers_logging

from slimgen.data.files import atomic_path, read_json, write_json
from slimgen.diffusion.denoiser import (
    ConsistencyProcess,
    Denoiser,
    DiffusionProcess,
    OneStepProcess,
    Process,
    process_record,
)
from slimgen.diffusion.prediction import DIFFUSERS_NAMES
from slimgen.diffusion.schedule import Schedule
from slimgen.networks.foreign import config_fault, index_fault, shards_fault

WEIGHTS = "diffusion_pytorch_model.safetensors"

SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
)


class ModelError(ValueError):
    """A model folder cannot be used; the message names the file and what is wrong."""


@dataclass(frozen=True)
class SavedModel:
    """A loaded network (eval mode) and how its output becomes an image."""

    network: ModelMixin
    process: Process

    def denoiser(self) -> Denoiser:
        """Return the denoiser of a diffusion or consistency model."""
        assert not isinstance(self.process, OneStepProcess)
        return Denoiser(self.network, self.process)


def save_model(folder: Path, network: Any, process: Process) -> None:
    """Write network and process; each file appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
        network.save_pretrained(scratch, safe_serialization=True)
        for name in (WEIGHTS, "config.json"):
            with atomic_path(folder / name) as temporary:
                # A copy: diffusers may leave weights that only their owner can read
                shutil.copyfile(Path(scratch) / name, temporary)
    write_json(folder / "process.json", process_record(process))
    if not isinstance(process, ConsistencyProcess):
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
    if index.exists() and (fault := index_fault(_read_config(index))):
        raise ModelError(f"{index}: {fault}")
    network = load_network(folder / "unet" if (folder / "unet").is_dir() else folder, device)
    return SavedModel(network, load_process(folder))


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
    """Read a network from its config.json and safetensors; nothing is unpickled or downloaded."""
    config = _read_config(folder / "config.json")
    name = config.get("_class_name")
    cls: Any
    if name == "UNet2DModel":
        from diffusers.models.unets.unet_2d import UNet2DModel as cls  # noqa: N813
    elif name == "SearchedUNet2DModel":
        from slimgen.networks.searched_unet import SearchedUNet2DModel as cls  # noqa: N813
    else:
        raise ModelError(
            f"{folder / 'config.json'}: class {name!r} is not allowed; "
            "it can be UNet2DModel or SearchedUNet2DModel"
        )
    if fault := config_fault(config, cls):
        raise ModelError(f"{folder / 'config.json'}: {fault}")
    if fault := shards_fault(folder, WEIGHTS):
        raise ModelError(fault)
    if not (folder / WEIGHTS).is_file():
        pointer = folder / f"{WEIGHTS}.dvc"
        mend = (
            f"`dvc pull {pointer}` brings it"
            if pointer.is_file()
            else "weights are read from safetensors only"
        )
        raise ModelError(f"{folder / WEIGHTS} does not exist ({mend})")
    diffusers_logging.set_verbosity_error()  # what it warns of is an error of ours
    try:
        network, found = cls.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # diffusers raises many kinds here
        raise ModelError(f"{folder}: the weights cannot be read ({_one_line(error)})") from None
    for kind, where in (("missing", "missing in the file"), ("unexpected", "not of the network")):
        names = sorted(found[f"{kind}_keys"])
        if names:
            raise ModelError(f"{folder / WEIGHTS}: tensors {len(names)} {where}, {names[0]} first")
    return network.to(device).eval()


def load_process(folder: Path) -> Process:
    """Read how a model's output becomes an image."""
    record = _read_config(folder / "process.json") if (folder / "process.json").exists() else {}
    kind = record.pop("kind", "diffusion")
    if kind == "consistency":
        try:
            return ConsistencyProcess(**record)
        except TypeError as error:
            raise ModelError(f"{folder / 'process.json'}: {_one_line(error)}") from None
    if kind not in ("diffusion", "one_step"):
        raise ModelError(
            f"{folder / 'process.json'}: kind {kind!r} is not known; "
            "it can be diffusion, one_step or consistency"
        )
    nested = folder / "scheduler" / "scheduler_config.json"
    config = _read_config(nested if nested.exists() else folder / "scheduler_config.json")
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
            raise ModelError(f"{folder}: trained_betas: {_one_line(error)}") from None
        if betas.dim() != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
            raise ModelError(f"{folder}: trained_betas are not at least two numbers in (0, 1)")
        return Schedule((1 - betas).cumprod(0))
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    try:
        scheduler = DDPMScheduler(**{key: config[key] for key in keys if key in config})
    except NotImplementedError as error:
        raise ModelError(f"{folder}: scheduler_config.json: {_one_line(error)}") from None
    return Schedule((1 - scheduler.betas.double()).cumprod(0))


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path} does not exist")
    try:
        value = read_json(path)
    except (ValueError, json.JSONDecodeError) as error:
        raise ModelError(str(error)) from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object")
    return value


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
