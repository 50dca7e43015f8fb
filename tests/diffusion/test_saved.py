"""Saved models: round trips, diffusers reading our folders, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from slimgen.config.base import Network, Sampling
from slimgen.diffusion.denoiser import ConsistencyProcess, DiffusionProcess, OneStepProcess
from slimgen.diffusion.noise import initial_noise
from slimgen.diffusion.sampling import generate
from slimgen.diffusion.saved import SavedModel, load_model, save_model
from slimgen.networks.stored import WEIGHTS, ModelError

SETTINGS = Network(
    block_out_channels=(8, 16),
    layers_per_block=1,
    attention=(False, False),
    mid_attention=False,
    norm_num_groups=4,
    dropout=0.0,
)


@pytest.fixture(scope="module")
def unet():
    from slimgen.networks.unet import make_unet

    torch.manual_seed(0)
    return make_unet(SETTINGS, channels=1, size=8).eval()


@pytest.fixture
def folder(unet, cosine, tmp_path) -> Path:
    save_model(tmp_path, unet, DiffusionProcess(cosine, "v"))
    return tmp_path


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def images(model, name: str, seed: int = 0) -> torch.Tensor:
    return generate(
        model, name, Sampling(), seed=seed, start=0, count=2, shape=(1, 8, 8), device="cpu"
    )


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [("diffusion", "dpm-5"), ("one_step", "one-step"), ("consistency", "consistency-2")],
)
def test_a_loaded_model_gives_the_images_of_the_saved_one(kind, sampler, unet, cosine, tmp_path):
    processes = {
        "diffusion": DiffusionProcess(cosine, "eps"),
        "one_step": OneStepProcess(cosine, "v"),
        "consistency": ConsistencyProcess(0.002, 80.0, 0.47, time_conditioning="log"),
    }
    save_model(tmp_path, unet, processes[kind])
    loaded = load_model(tmp_path)
    assert loaded.process.kind == kind
    assert not loaded.network.training
    saved = SavedModel(unet, processes[kind])
    torch.testing.assert_close(images(loaded, sampler), images(saved, sampler))
    if kind == "consistency":
        assert loaded.process == processes[kind]


def test_a_diffusers_pipeline_of_our_folder_gives_our_images(folder):
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    pipeline = DDIMPipeline(
        UNet2DModel.from_pretrained(folder), DDIMScheduler.from_pretrained(folder)
    )
    pipeline.set_progress_bar_config(disable=True)
    z = initial_noise(0, 0, 2, (1, 8, 8))

    def draw_z(*_args, **_options) -> torch.Tensor:
        return z

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", draw_z)
        theirs = pipeline(batch_size=2, num_inference_steps=20, output_type="pt").images
    ours = (images(load_model(folder), "ddim-20") / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours.std() > 0.05  # not clipped to one value


@pytest.mark.parametrize("nested", [False, True])
def test_a_diffusers_ddpm_folder_is_a_teacher(nested, unet, linear, tmp_path):
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    unet.save_pretrained(tmp_path / "unet" if nested else tmp_path)
    DDPMScheduler().save_pretrained(tmp_path / "scheduler" if nested else tmp_path)
    model = load_model(tmp_path)
    assert isinstance(model.process, DiffusionProcess)
    assert model.process.prediction == "eps"
    torch.testing.assert_close(
        model.process.schedule.alphas_cumprod, linear.alphas_cumprod, rtol=1e-4, atol=0
    )
    torch.testing.assert_close(model.network.state_dict(), unet.state_dict())


def missing(name):
    return lambda folder: (folder / name).unlink()


def pickled(folder):
    (folder / WEIGHTS).unlink()
    torch.save({"conv_in.weight": torch.zeros(1)}, folder / "diffusion_pytorch_model.bin")


def truncated(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def one_tensor_short(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    del tensors["conv_out.bias"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


def index(**entries):
    """A pipeline's index that names code in the folder."""

    def write(folder):
        (folder / "custom.py").write_text(CODE)
        ordinary = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
        (folder / "model_index.json").write_text(json.dumps(ordinary | entries))

    return write


def custom(**changes):
    """A config that names code in the folder."""

    def write(folder):
        (folder / "custom.py").write_text(CODE)
        edit(folder / "config.json", **changes)

    return write


def shards_elsewhere(folder):
    weight_map = {"conv_in.weight": "../../elsewhere.safetensors"}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def broken_json(folder):
    (folder / "config.json").write_text('{"_class_name": ')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing("config.json"), r"config\.json does not exist"),
        (missing(WEIGHTS), r"safetensors does not exist"),
        (missing("scheduler_config.json"), r"scheduler_config\.json does not exist"),
        (pickled, r"read from safetensors only"),
        (truncated, r"the weights cannot be read"),
        (one_tensor_short, r"1 missing.*conv_out\.bias"),
        (broken_json, r"config\.json: not valid JSON"),
        (
            lambda folder: edit(folder / "config.json", _class_name="UNet2DConditionModel"),
            r"config\.json: class 'UNet2DConditionModel' is not allowed",
        ),
        (
            custom(auto_map={"AutoModel": "custom.UNet"}),
            r"config\.json: UNet2DModel has no key 'auto_map'; nothing is loaded",
        ),
        (custom(quantization_config={"quant_method": "custom"}), r"no key 'quantization_config'"),
        (custom(_class_name="custom.UNet"), r"class 'custom\.UNet' is not allowed"),
        (custom(_class_name=["custom", "UNet"]), r"class \['custom', 'UNet'\] is not allowed"),
        (custom(_class_name="__import__('custom')"), r"is not allowed"),
        (custom(down_block_types=["custom.Block", "DownBlock2D"]), r"cannot be read"),
        (index(unet=["custom", "UNet"]), r"model_index\.json: unet .* is code of its own"),
        (index(_class_name=["custom", "Pipeline"]), r"_class_name .* is code of its own"),
        (shards_elsewhere, r"index\.json: weights in several files are not read"),
        (
            lambda folder: edit(folder / "config.json", block_out_channels=[8, 24]),
            r"the weights cannot be read",
        ),
        (
            lambda folder: edit(folder / "scheduler_config.json", prediction_type="flow"),
            r"prediction_type 'flow' is not known",
        ),
        (
            lambda folder: edit(folder / "scheduler_config.json", trained_betas=[0.1, 1.5]),
            r"trained_betas are not at least two numbers in \(0, 1\)",
        ),
        (
            lambda folder: edit(folder / "process.json", kind="flow"),
            r"process\.json: kind 'flow' is not known",
        ),
        (
            lambda folder: edit(folder / "process.json", kind="consistency"),
            r"process\.json: .*unexpected keyword argument 'prediction'",
        ),
    ],
)
def test_a_damaged_folder_is_refused_with_one_line(damage, message, folder):
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert not (folder / "ran").exists()


def test_an_ordinary_pipeline_folder_is_read(unet, tmp_path):
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    assert (tmp_path / "model_index.json").exists()
    torch.testing.assert_close(load_model(tmp_path).network.state_dict(), unet.state_dict())


def test_a_failed_save_leaves_the_old_model_whole(folder, unet, cosine, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(unet), "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(folder, unet, DiffusionProcess(cosine, "eps"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_can_be_moved(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("moved folder with spaces") / "model"
    shutil.copytree(folder, target)
    torch.testing.assert_close(
        images(load_model(target), "ddim-5"), images(load_model(folder), "ddim-5")
    )
