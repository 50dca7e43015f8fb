"""Weights in one file: what is missing, damaged or another network's is one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from slimgen.networks.tensor_file import absent, load_tensors, load_weights, save_tensors


def test_what_was_saved_is_loaded_whatever_its_layout(tmp_path: Path) -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    shared = torch.ones(3)
    given = {"a": image, "b": image[:, :1], "c": shared, "d": shared}
    save_tensors(tmp_path / "x.safetensors", given)
    found = load_tensors(tmp_path / "x.safetensors")
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) for name in given)


def test_a_file_that_dvc_has_comes_with_its_mend(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert absent(path) == f"{path} does not exist"
    pointer = tmp_path / "model.safetensors.dvc"
    pointer.touch()
    assert absent(path) == f"{path} does not exist (`dvc pull {pointer}` brings it)"
    path.touch()
    assert absent(path) is None


def test_faults_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match=r"x\.safetensors does not exist"):
        load_weights(path, nn.Linear(1, 1))
    save_tensors(path, nn.Linear(2, 1).state_dict())
    with pytest.raises(ValueError, match=r"^\S+x\.safetensors: the weights cannot be read .*size"):
        load_weights(path, nn.Linear(1, 1))
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"^\S+x\.safetensors: the weights cannot be read"):
        load_tensors(path)
