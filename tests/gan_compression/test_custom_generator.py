"""A user's own generator through every stage; the callable lives here, and only here is trusted."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from slimgen.config.gan_compression import (
    GanCompression,
    TeacherSettings,
)
from slimgen.config.run import ConfigError, load
from slimgen.data.pairs import load_pairs
from slimgen.networks.translators import open_translator, shape_of
from slimgen.systems.gan_compression.export import export
from slimgen.systems.gan_compression.search import search
from slimgen.systems.gan_compression.student import student
from slimgen.systems.gan_compression.supernet import supernet
from slimgen.systems.gan_compression.teacher import teacher
from slimgen.training.job import Job, StageError

PAGE = Path(__file__).parents[2] / "docs" / "any_generator.md"


class UNet(nn.Module):
    """One of a user's: diffusers blocks, a skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.middle = ResnetBlock2D(in_channels=12, out_channels=12, temb_channels=None, groups=6)
        self.up = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)
        self.decode = ResnetBlock2D(in_channels=16, out_channels=8, temb_channels=None, groups=4)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.stem(x)
        y = self.up(self.middle(self.down(skip), None))
        return torch.tanh(self.head(self.norm(self.decode(torch.cat([y, skip], 1), None))))


def unet(in_channels: int, out_channels: int) -> nn.Module:
    return UNet(in_channels, out_channels)


def wrong(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels + 1, 3)


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """Make this file's callables importable under the names that the page's example uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "my_models", sys.modules[__name__])
        patch.setitem(sys.modules, "elsewhere", sys.modules[__name__])
        yield


@pytest.fixture(scope="module")
def example() -> GanCompression:
    """The config example of the page, with fewer steps."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    return GanCompression.model_validate(yaml.safe_load(text)["gan_compression"])


def one_step(settings):
    small = {"ndf": 4, "num_layers": 2}
    changes = {"steps": 1, "batch_size": 2, "discriminator": small}
    return type(settings).model_validate(settings.model_dump() | changes)


@pytest.fixture(scope="module")
def trained(example, edges, importable, tmp_path_factory) -> dict[str, Path]:
    def stage(name: str, function, settings, **inputs) -> Path:
        out, state = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp(f"{name}-state")
        job = Job(stage=f"gan_compression.{name}", out=out, state=state)
        function(settings, job, data=edges, **inputs)
        return out

    found = {}
    found["teacher"] = stage("teacher", teacher, one_step(example.teacher.variant("unet")))
    settings = one_step(example.supernet.variant("unet"))
    found["supernet"] = stage("supernet", supernet, settings, teacher=found["teacher"])
    settings = example.search.variant("unet").model_copy(
        update={"criterion": "psnr", "population": 3, "generations": 1, "num_images": 6}
    )
    found["arch"] = stage(
        "search", search, settings, teacher=found["teacher"], supernet=found["supernet"]
    )
    settings = one_step(example.student.variant("unet"))
    found["student"] = stage(
        "student",
        student,
        settings,
        teacher=found["teacher"],
        supernet=found["supernet"],
        arch=found["arch"],
    )
    found["export"] = stage(
        "export", export, example.export.variant("unet"), model=found["student"]
    )
    return found


def test_the_pages_example_runs_through_all_stages(trained, edges) -> None:
    found = json.loads((trained["arch"] / "arch.json").read_text())
    network = open_translator(trained["student"], build="my_models:unet")
    assert type(network) is UNet
    assert list(shape_of(network).widths) == found["widths"]
    assert found["macs"] <= found["budget"] < found["teacher_macs"]
    assert found["entries"] == ["stem", "trunk", "inner", "up"]
    assert network.stem.out_channels == found["widths"][0]
    x = load_pairs(edges, "report").batch_inputs(torch.arange(3))
    assert network(x).shape == (3, 1, 16, 16)
    assert json.loads((trained["export"] / "export.json").read_text())["largest_difference"] < 1e-4


def test_a_models_folder_brings_no_code_along(trained, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained["student"], folder)
    config = folder / "config.json"
    record = json.loads(config.read_text())
    assert record["build"] == "my_models:unet"
    with pytest.raises(ValueError, match=r"built by 'my_models:unet'.*names none.*is imported"):
        open_translator(folder)
    with pytest.raises(ValueError, match=r"names 'elsewhere:unet'"):
        open_translator(folder, build="elsewhere:unet")
    evil = tmp_path / "evil_module.py"
    evil.write_text("raise SystemExit('imported')\n")
    sys.path.insert(0, str(tmp_path))
    try:
        config.write_text(json.dumps(record | {"build": "evil_module:unet"}))
        for build in (None, "my_models:unet"):
            with pytest.raises(ValueError, match="built by 'evil_module:unet'"):
                open_translator(folder, build=build)
    finally:
        sys.path.remove(str(tmp_path))
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    ("build", "line"),
    [
        ("my_models:nothing", "has no attribute 'nothing'"),
        ("no_such_module:unet", "No module named 'no_such_module'"),
        ("my_models", "name a callable as package.module:function"),
        ("my_models:PAGE", "it cannot be called"),
        ("my_models:wrong", r"makes \(2, 2, 14, 14\) of inputs \(2, 1, 16, 16\)"),
    ],
)
def test_a_callable_that_builds_no_generator(edges, make_job, build, line) -> None:
    generator = {"kind": "custom", "build": build, "elastic": {"stem": ["stem"]}}
    settings = TeacherSettings.model_validate({"generator": generator, "steps": 1})
    with pytest.raises(StageError, match=line) as caught:
        teacher(settings, make_job(), data=edges)
    assert "\n" not in str(caught.value)


def test_taps_of_a_custom_generator_are_named_and_exist(example, trained, edges, make_job) -> None:
    for taps, line in ((None, "taps: name the modules"), (("midle",), "near names: middle")):
        settings = one_step(example.supernet.variant("unet")).model_copy(update={"taps": taps})
        with pytest.raises(StageError, match=line):
            supernet(settings, make_job("again"), data=edges, teacher=trained["teacher"])


@pytest.mark.parametrize("stage", ["supernet", "search", "student", "export"])
def test_a_stage_that_does_not_name_the_callable_stops_the_run(stage) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert load(yaml.safe_load(text)).gan_compression is not None  # as it stands on the page
    section = yaml.safe_load(text)["gan_compression"]
    section["teacher"]["variants"]["unet"]["dataset"] = "edges"
    run = {
        "run": "mine",
        "dataset": "digits",
        "data": {"prepare": {"variants": {"edges": {"source": {"kind": "digit_pairs"}}}}},
        "evaluation": {
            "reference": {"variants": {"edges": {"classifier": "digits", "pool": 2}}},
            "translate": {"build": "my_models:unet"},
        },
        "gan_compression": section,
    }
    assert load(run).gan_compression is not None
    del section[stage]["build"]
    line = f"{stage}.variants.unet.build = None: the generator of teacher/unet is built by"
    with pytest.raises(ConfigError, match=line):
        load(run)
