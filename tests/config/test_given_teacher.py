"""What a teacher's own folder tells is told before any job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slimgen.config.given_teacher import check_given_teacher
from slimgen.config.run import Config, ConfigError, load

NETWORK = {"in_channels": 1, "sample_size": 8}


def run_with(teacher: Path | str, samplers: list[str] | None = None) -> Config:
    mapping: dict[str, Any] = {"run": "x", "dataset": "digits", "teacher": {"from": str(teacher)}}
    mapping["dbnas"] = {}
    mapping["evaluation"] = {"measure": {"samplers": samplers or ["ddim-10"]}}
    return load(mapping)


def make(folder: Path, *, nested: bool, network: dict[str, Any] = NETWORK) -> Path:
    """Write what this check reads of a diffusers folder."""
    unet, scheduler = (folder / "unet", folder / "scheduler") if nested else (folder, folder)
    for path, content in (
        (unet / "config.json", network),
        (scheduler / "scheduler_config.json", {"num_train_timesteps": 100}),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (unet / "diffusion_pytorch_model.safetensors").touch()
    return folder


@pytest.mark.parametrize("nested", [True, False])
def test_one_that_fits_passes(tmp_path: Path, nested: bool) -> None:
    check_given_teacher(run_with(make(tmp_path, nested=nested), ["ddim-100"]))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("network", "samplers", "line"),
    [
        (NETWORK | {"in_channels": 3}, None, "made for images of 3 channels; those of digits have"),
        (NETWORK | {"sample_size": 16}, None, "made for images of 16 pixels; those of digits have"),
        (NETWORK, ["ddim-101"], "sampler 'ddim-101' of evaluation.measure, but its schedule has"),
    ],
)
def test_one_that_does_not_fit_is_one_line(
    tmp_path: Path, nested: bool, network: dict[str, Any], samplers: list[str] | None, line: str
) -> None:
    folder = make(tmp_path, nested=nested, network=network)
    with pytest.raises(ConfigError) as error:
        check_given_teacher(run_with(folder, samplers))
    assert str(error.value).startswith(f"config: teacher.train.from = {str(folder)!r}: {line}")
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_and_pickled_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.json of a diffusers DDPM in it"):
        check_given_teacher(run_with(tmp_path / "empty"))
    folder = make(tmp_path / "pickled", nested=False)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(ConfigError, match=r"no \.safetensors in .*pickled weights are not read"):
        check_given_teacher(run_with(folder))


def test_a_hub_id_is_left_to_the_stage() -> None:
    check_given_teacher(run_with("owner/name", ["ddim-5000"]))
