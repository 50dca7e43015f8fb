"""The paper's first pipeline: mobile teacher, narrow student, supernet that begins with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from slimgen.config.gan_compression import MobileTeacherSettings, PretrainSettings, SupernetSettings
from slimgen.data.pairs import load_pairs
from slimgen.networks.translators import open_translator, shape_of
from slimgen.systems.gan_compression import supernet as supernet_stage
from slimgen.systems.gan_compression.artefacts import load_supernet
from slimgen.systems.gan_compression.distilled import Distillation
from slimgen.systems.gan_compression.mobile_teacher import mobile_teacher
from slimgen.systems.gan_compression.pretrain import pretrain
from slimgen.systems.gan_compression.supernet import supernet
from slimgen.training.job import Job, StageError

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "workflow" / "smoke.yaml"
COMMON = {
    "steps": 1,
    "batch_size": 2,
    "discriminator": {"ndf": 4, "num_layers": 2},
    "optimizer": {"lr": 1e-12},
    "discriminator_optimizer": {"lr": 1e-12},
}
# A fresh discriminator of equal seed and shape is the very one that a teacher began with.
MOVED = {"discriminator_optimizer": {"lr": 1e-2}}
BEGUN = {
    "config_set": ((4, 2),) * 8,
    "begin": "teacher",
    "discriminator_init": "teacher",
    "sampling": "sandwich",
}
NAMED = {"begin_from": "pretrain/pix2pix", "teacher": "mobile_teacher/pix2pix"}


def plain_job(folder: Path) -> Job:
    (folder / "state").mkdir(parents=True)
    (folder / "out").mkdir()
    return Job(stage="gan_compression.test", out=folder / "out", state=folder / "state")


def adversary(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adversary.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7) for name in theirs)


@pytest.fixture(scope="module")
def parts(edges, tmp_path_factory) -> dict[str, Path]:
    """The mobile teacher and the narrow student of it; their discriminators alone have moved."""
    root = tmp_path_factory.mktemp("original")
    mobile, narrow = plain_job(root / "mobile"), plain_job(root / "narrow")
    shape = {"generator": {"ngf": 6, "blocks": 3}}
    settings = MobileTeacherSettings.model_validate(COMMON | MOVED | shape)
    mobile_teacher(settings, mobile, data=edges)
    given = PretrainSettings.model_validate(COMMON | MOVED | {"ngf": 4})
    pretrain(given, narrow, data=edges, teacher=mobile.out)
    return {"mobile": mobile.out, "narrow": narrow.out}


@pytest.fixture
def make_supernet(edges, make_job):
    def make(name: str, of: Path, first: Path | None = None, **settings: Any) -> Path:
        job = make_job(name)
        given = SupernetSettings.model_validate(COMMON | BEGUN | settings)
        supernet(given, job, data=edges, teacher=of, begin_from=first)
        return job.out

    return make


def largest(layer: torch.nn.Module, count: int) -> torch.Tensor:
    others = (0, 2, 3) if isinstance(layer, torch.nn.ConvTranspose2d) else (1, 2, 3)
    return layer.weight.abs().sum(others).argsort(descending=True)[:count]


def test_a_pretrain_keeps_the_channels_of_the_largest_norms(parts) -> None:
    """Those of the stem and of both upsamplings, whose channels each one layer alone makes."""
    wide, small = open_translator(parts["mobile"]), open_translator(parts["narrow"])
    assert shape_of(wide).separable == shape_of(small).separable == ("blocks",)
    assert shape_of(small).widths == (4,) * 8
    stem, up_1, up_2 = (wide.get_submodule(f"model.{i}") for i in (1, 13, 16))
    wanted = stem.weight[largest(stem, 4)]
    torch.testing.assert_close(small.get_submodule("model.1").weight, wanted)
    wanted = up_2.weight[largest(up_1, 8)][:, largest(up_2, 4)]  # (in, out, h, w)
    torch.testing.assert_close(small.get_submodule("model.16").weight, wanted)


def test_a_pretrain_inherits_the_teachers_discriminator(parts, edges, make_job) -> None:
    for kind in ("teacher", "fresh"):
        job = make_job(kind)
        given = PretrainSettings.model_validate(COMMON | {"ngf": 4, "discriminator_init": kind})
        pretrain(given, job, data=edges, teacher=parts["mobile"])
        assert same(adversary(job.out), adversary(parts["mobile"])) == (kind == "teacher")


def test_a_supernet_begins_with_the_student_and_learns_from_its_teacher(
    parts, edges, make_supernet, monkeypatch
) -> None:
    teachers = []

    class Noted(Distillation):
        def __init__(self, settings, student, teacher, *args, **given) -> None:
            teachers.append(shape_of(teacher).widths)
            super().__init__(settings, student, teacher, *args, **given)

    monkeypatch.setattr(supernet_stage, "Distillation", Noted)
    out = make_supernet("begun", parts["mobile"], parts["narrow"], **NAMED)
    assert teachers == [(6,) * 8]
    x = load_pairs(edges, "report").batch_inputs(torch.arange(4))
    with torch.no_grad():
        begun = load_supernet(out, "cpu", build=None).network(x, (4,) * 8)
        torch.testing.assert_close(begun, open_translator(parts["narrow"])(x), rtol=1e-4, atol=1e-5)
    assert same(adversary(out), adversary(parts["narrow"]))
    assert not same(adversary(out), adversary(parts["mobile"]))


def test_without_begin_from_it_begins_with_its_teacher(parts, edges, make_supernet) -> None:
    out = make_supernet("plain", parts["narrow"])
    x = load_pairs(edges, "report").batch_inputs(torch.arange(4))
    with torch.no_grad():
        begun = load_supernet(out, "cpu", build=None).network(x, (4,) * 8)
        torch.testing.assert_close(begun, open_translator(parts["narrow"])(x), rtol=1e-4, atol=1e-5)
    assert same(adversary(out), adversary(parts["narrow"]))
    fresh = make_supernet("fresh", parts["narrow"], discriminator_init="fresh")
    assert not same(adversary(fresh), adversary(parts["narrow"]))


def test_a_beginning_that_does_not_fit(parts, make_supernet) -> None:
    with pytest.raises(StageError, match=r"--begin_from is needed.* pretrain/pix2pix"):
        make_supernet("none", parts["mobile"], **NAMED)
    with pytest.raises(StageError, match=r"its weights fit where both are equal"):
        make_supernet("wide", parts["narrow"], parts["mobile"], **NAMED)


@pytest.mark.workflow
def test_the_graph_brings_both_to_the_supernet_and_counts_by_the_teacher(tmp_path) -> None:
    config = yaml.safe_load(SMOKE.read_text())
    config["gan_compression"]["supernet"] |= NAMED
    rows = config["gan_compression"]["student"]["variants"]
    rows["pix2pix-scratch"]["discriminator_init"] = "supernet"
    (tmp_path / "begun.yaml").write_text(json.dumps(config))
    folder = "results/smoke/gan_compression/student"
    targets = [f"{folder}/{name}/seed0/config.json" for name in rows]
    words = [*targets, "-n", "-s", str(ROOT / "Snakefile"), "--configfile", "begun.yaml"]
    output = subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout
    read = {}
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", output)[1:]:
        found = re.search(r"rule (\w+):.*?input: (.*?)\n.*?wildcards: (.*?)\n", block, re.S)
        if found:
            variant = found[3].partition("variant=")[2].partition(",")[0]
            folders = {str(Path(path).parent) for path in found[2].split(", ")}
            read[found[1], variant] = {f.removeprefix("results/smoke/") for f in folders}
    own = {f"gan_compression/{name}/pix2pix/seed0" for name in ("pretrain", "mobile_teacher")}
    assert own <= read["gan_compression_supernet", "pix2pix"], output[-2000:]
    searched = read["gan_compression_search", "pix2pix"]
    assert {folder for folder in own if folder in searched} == {
        "gan_compression/mobile_teacher/pix2pix/seed0"
    }
    # A row from random weights takes the supernet for its discriminator alone.
    student = read["gan_compression_student", "pix2pix-scratch"]
    assert "gan_compression/supernet/pix2pix/seed0" in student
