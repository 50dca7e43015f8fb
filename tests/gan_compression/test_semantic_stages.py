"""GauGAN from teacher to student: what only a SPADE generator has (separable SPADE, BatchNorm)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slimgen.config.gan_compression import (
    SearchSettings,
    StudentSettings,
    SupernetSettings,
    TeacherSettings,
)
from slimgen.data.pairs import load_pairs
from slimgen.networks.translators import extract_translator, open_translator, shape_of
from slimgen.systems.gan_compression.artefacts import load_supernet
from slimgen.systems.gan_compression.search import search
from slimgen.systems.gan_compression.student import student
from slimgen.systems.gan_compression.supernet import separated, supernet
from slimgen.systems.gan_compression.teacher import teacher
from slimgen.training.job import Job

COMMON = {
    "task": "semantic",
    "steps": 2,
    "batch_size": 2,
    "discriminator": {"ndf": 4, "num_layers": 2},
}
NORM = "head_0.norm_0.param_free_norm"


def plain_job(folder: Path) -> Job:
    (folder / "state").mkdir(parents=True)
    (folder / "out").mkdir()
    return Job(stage="gan_compression.test", out=folder / "out", state=folder / "state")


def run_stages(root: Path, label_maps: Path, generator: dict[str, object]) -> dict[str, Path]:
    """Teacher, supernet, the arch of a search (by PSNR) and that subnet as it is."""
    jobs = {name: plain_job(root / name) for name in ("teacher", "supernet", "search", "student")}
    given = COMMON | {"generator": {"ngf": 4} | generator}
    teacher(TeacherSettings.model_validate(given), jobs["teacher"], data=label_maps)
    made = {name: job.out for name, job in jobs.items()}
    settings = SupernetSettings.model_validate(COMMON | {"config_set": ((4, 3, 2),) * 8})
    supernet(settings, jobs["supernet"], data=label_maps, teacher=made["teacher"])
    found = SearchSettings(
        criterion="psnr", budget_ratio=3, population=3, generations=1, num_images=6
    )
    trained = {key: made[key] for key in ("teacher", "supernet")}
    search(found, jobs["search"], data=label_maps, **trained)
    arch = made["search"] / "arch.json"
    zero = StudentSettings.model_validate(COMMON | {"steps": 0})
    student(zero, jobs["student"], data=label_maps, arch=arch, **trained)
    return made


@pytest.fixture(scope="module")
def parts(label_maps, tmp_path_factory) -> dict[str, Path]:
    return run_stages(tmp_path_factory.mktemp("gaugan"), label_maps, {"upsamplings": 3})


def test_the_lowest_resolution_may_be_one_pixel(label_maps, tmp_path) -> None:
    """Of 16 with four upsamplings: InstanceNorm makes it 0, and there is nothing to measure."""
    made = run_stages(tmp_path, label_maps, {"upsamplings": 4, "norm": "instance"})
    ours = open_translator(made["student"])
    assert shape_of(ours).mobile
    assert shape_of(ours).upsamplings == 4
    found = json.loads((made["search"] / "arch.json").read_text())
    whole = load_supernet(made["supernet"], "cpu", build=None)
    maps = load_pairs(label_maps, "train").batch_inputs(torch.arange(3))
    with torch.no_grad():
        images = ours(maps)
        assert torch.equal(images, whole.network(maps, tuple(found["widths"])))
    assert images.std(0).amax() > 0  # what the blocks above that pixel see differs


def test_the_supernet_of_a_dense_teacher_is_mobile(parts) -> None:
    dense = shape_of(open_translator(parts["teacher"]))
    assert not dense.mobile
    whole = load_supernet(parts["supernet"], "cpu", build=None)
    assert shape_of(whole.network.network) == separated(dense, ("blocks",)).with_widths((4,) * 8)
    assert whole.shape.mobile
    assert shape_of(open_translator(parts["student"])).mobile
    assert not separated(dense, ()).mobile


@torch.no_grad()
def test_a_student_measures_its_batch_norms_on_the_train_split(parts, label_maps) -> None:
    """Those of the supernet are of whatever subnets trained last."""
    found = json.loads((parts["search"] / "arch.json").read_text())
    whole = load_supernet(parts["supernet"], "cpu", build=None)
    stale = extract_translator(whole.network, tuple(found["widths"]))
    ours = open_translator(parts["student"])
    weights = dict(stale.named_parameters())
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, weights[name])
    pairs = load_pairs(label_maps, "train")
    maps = pairs.batch_inputs(torch.arange(len(pairs)))
    x = ours.fc(torch.nn.functional.interpolate(maps, scale_factor=1 / 8))  # what NORM sees
    written = load_file(parts["student"] / "model.safetensors")
    torch.testing.assert_close(written[f"{NORM}.running_mean"], x.mean((0, 2, 3)))
    torch.testing.assert_close(written[f"{NORM}.running_var"], x.var((0, 2, 3)))
    before = stale.get_submodule(NORM)
    assert not torch.allclose(written[f"{NORM}.running_var"], before.running_var, rtol=0.1)
