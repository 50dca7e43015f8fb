"""teacher.train: stopped or killed runs end with the same bytes; finished models are checked."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import load_file, save_file

import slimgen.systems.shared.teacher.train as stage
from slimgen.config.shared import TeacherTrainSettings
from slimgen.data.dataset import load_split
from slimgen.data.files import digest, read_json, write_json
from slimgen.diffusion.denoiser import DiffusionProcess, OneStepProcess
from slimgen.diffusion.saved import load_diffusion, save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.networks.stored import WEIGHTS
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.precision import Compute
from slimgen.training.seeding import batch_indices, make_rng

STEPS = 12
NETWORK = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "attention": [False, False],
    "mid_attention": False,
    "norm_num_groups": 4,
    "dropout": 0.1,
}
FILES = ("config.json", WEIGHTS, "process.json", "scheduler_config.json")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty 8x8 images: a bright square on black, shifted about."""
    folder = tmp_path_factory.mktemp("data")
    images = np.zeros((40, 1, 8, 8), dtype=np.uint8)
    for i in range(40):
        images[i, 0, i % 4 : i % 4 + 4, i % 5 : i % 5 + 4] = 200 + i
    np.savez(folder / "train.npz", images=images, labels=np.full(40, -1, dtype=np.int64))
    write_json(folder / "manifest.json", {"num_classes": 0})
    return folder


def settings(**changes):
    base = {
        "steps": STEPS,
        "batch_size": 8,
        "network": NETWORK,
        "optimizer": {"lr": 2e-3, "warmup": 3, "clip_norm": 1.0},
        "ema": {"decay": 0.9},
        "log_every": 4,
        "checkpoint_seconds": 1000,
    }
    return TeacherTrainSettings.model_validate(base | changes)


def make_job(folder):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage="teacher.train", out=folder / "out", state=folder / "state", seed=5)


def digests(job):
    return {name: digest(job.out / name) for name in FILES}


def at_step(monkeypatch, step, action):
    """Call `action` once, inside the update of `step` (counted over this start of the stage)."""
    calls = []
    original = stage.sample_timesteps

    def counting(*arguments):
        calls.append(1)
        if len(calls) == step + 1:
            action()
        return original(*arguments)

    monkeypatch.setattr(stage, "sample_timesteps", counting)


class KilledError(Exception):
    pass


def kill():
    raise KilledError


VARIANTS = [
    {"prediction": "eps", "timesteps": "antithetic"},
    {"prediction": "v", "timesteps": "logit_normal", "schedule": {"betas": "cosine"}},
    {"prediction": "x0", "runtime": {"precision": "fp16", "channels_last": True}},
    {"runtime": {"precision": "bf16"}},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_run_stopped_at_a_random_step_ends_with_the_same_bytes(
    tmp_path, data, monkeypatch, changes
):
    whole = make_job(tmp_path / "whole")
    stage.train(settings(**changes), whole, data=data)

    stop = random.Random(str(changes)).randrange(0, STEPS - 1)
    parts = make_job(tmp_path / "parts")
    with monkeypatch.context() as patch:
        at_step(patch, stop, lambda: setattr(parts, "signal_name", "SIGTERM"))
        with pytest.raises(Stopped):
            stage.train(settings(**changes), parts, data=data)
    assert not (parts.out / WEIGHTS).exists()
    parts.signal_name = None
    stage.train(settings(**changes), parts, data=data)
    events = [json.loads(line) for line in (parts.state / "log.jsonl").read_text().splitlines()]
    assert {"step": stop + 1, "event": "resumed"} in events
    assert digests(parts) == digests(whole)


def test_a_run_killed_between_checkpoints_ends_with_the_same_bytes(tmp_path, data, monkeypatch):
    whole, parts = make_job(tmp_path / "whole"), make_job(tmp_path / "parts")
    stage.train(settings(), whole, data=data)
    every_step = settings(checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        at_step(patch, 7, kill)
        with pytest.raises(KilledError):
            stage.train(every_step, parts, data=data)
    stage.train(every_step, parts, data=data)
    assert digests(parts) == digests(whole)


def test_the_scale_of_fp16_survives_a_restart(tmp_path, data, monkeypatch):
    """It doubles at every step here, so that a forgotten one would show."""
    made = []

    def scaler(self):
        made.append(torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=1))
        return made[-1]

    monkeypatch.setattr(Compute, "scaler", scaler)
    half, job = settings(runtime={"precision": "fp16"}), make_job(tmp_path)
    with monkeypatch.context() as patch:
        at_step(patch, 6, lambda: setattr(job, "signal_name", "SIGTERM"))
        with pytest.raises(Stopped):
            stage.train(half, job, data=data)
    job.signal_name = None
    stage.train(half, job, data=data)
    assert [scaler.get_scale() for scaler in made] == [2.0**7, 2.0**STEPS]


def test_the_seed_decides_the_weights(tmp_path, data):
    first, other = make_job(tmp_path / "a"), make_job(tmp_path / "b")
    other.seed = 6
    stage.train(settings(steps=2), first, data=data)
    stage.train(settings(steps=2), other, data=data)
    assert digests(first)[WEIGHTS] != digests(other)[WEIGHTS]


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction": "eps", "timesteps": "uniform", "flip": True},
        {"prediction": "v", "timesteps": "logit_normal", "schedule": {"betas": "cosine"}},
        {"prediction": "x0", "timesteps": "antithetic", "flip": False},
    ],
)
def test_the_first_step_is_the_papers_loss(tmp_path, data, changes):
    """Worked out again: same weights, images, mirrors, timesteps, noise; the target by formula."""
    job, n = make_job(tmp_path), 8
    run = settings(**changes, network=NETWORK | {"dropout": 0.0}, log_every=1)
    stage.train(run, job, data=data)
    images, rng = load_split(data, "train"), make_rng(5, 0, "update")
    x0 = images.images[batch_indices(40, n, 0, 5)].float() / 127.5 - 1
    if run.flip:
        mirrored = torch.rand(n, generator=rng) < 0.5
        assert mirrored.any()
        x0[mirrored] = x0[mirrored].flip(3)
    if run.timesteps == "uniform":
        t = torch.randint(1000, (n,), generator=rng)
    elif run.timesteps == "antithetic":
        half = torch.randint(1000, (n // 2,), generator=rng)
        t = torch.cat([half, 999 - half])
    else:
        t = (1000 * torch.randn(n, generator=rng).sigmoid()).long()
    eps = torch.randn(x0.shape, generator=rng)
    abar = make_schedule(run.schedule).alphas_cumprod[t].float()[:, None, None, None]
    a, s = abar.sqrt(), (1 - abar).sqrt()
    target = {"eps": eps, "x0": x0, "v": a * eps - s * x0}[run.prediction]
    with torch.no_grad():
        network = stage.new_network(run, job, images)
        loss = (network(a * x0 + s * eps, t).sample - target).square().mean()
    first = json.loads((job.state / "log.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_the_averaged_weights_are_saved(tmp_path, data):
    """An average that hardly moves stays at the start, wherever the raw weights went."""
    slow, fast = make_job(tmp_path / "slow"), make_job(tmp_path / "fast")
    stage.train(settings(ema={"decay": 1 - 1e-9}), slow, data=data)
    stage.train(settings(ema={"decay": 0.0}), fast, data=data)
    start = stage.new_network(settings(), slow, load_split(data, "train")).state_dict()
    kept, moved = load_file(slow.out / WEIGHTS), load_file(fast.out / WEIGHTS)
    assert all(torch.allclose(kept[name], weight, atol=1e-6) for name, weight in start.items())
    assert not any(torch.allclose(moved[name], start[name], atol=1e-5) for name in start)


def test_training_learns_the_data(tmp_path, data):
    job = make_job(tmp_path)
    stage.train(settings(steps=80, batch_size=32, log_every=20), job, data=data)
    losses = [json.loads(line)["loss"] for line in (job.state / "log.jsonl").open()]
    assert losses[-1] < 0.6 * losses[0]
    network, process = load_diffusion(job.out)
    assert isinstance(process, DiffusionProcess)
    assert process.prediction == "eps"
    assert torch.equal(
        process.schedule.alphas_cumprod.float(),
        make_schedule(settings().schedule).alphas_cumprod.float(),
    )
    assert network.config.dropout == 0.1


def test_a_network_too_deep_for_the_images_is_one_line(tmp_path, data):
    deep = NETWORK | {"block_out_channels": [8] * 5, "attention": [False] * 5}
    with pytest.raises(StageError, match=r"network\.block_out_channels has 5 levels: images of 8"):
        stage.train(settings(network=deep), make_job(tmp_path), data=data)


# Starting from a finished model


def plain(channels=1, size=8, **changes):
    torch.manual_seed(1)
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        **changes,
    )


def pipeline(folder, network=None, **scheduler):
    """Save a DDPM as diffusers itself does: unet/ and scheduler/."""
    DDPMPipeline(network or plain(), DDPMScheduler(**scheduler)).save_pretrained(folder)
    return folder


def flat(folder, network=None, **scheduler):
    """Save a DDPM with all files in one folder."""
    (network or plain()).save_pretrained(folder)
    DDPMScheduler(**scheduler).save_pretrained(folder)
    return folder


def take(folder, tmp_path, data):
    job = make_job(tmp_path / "job")
    stage.train(TeacherTrainSettings.model_validate({"from": str(folder)}), job, data=data)
    return job


@pytest.mark.parametrize("layout", [pipeline, flat])
def test_a_diffusers_ddpm_becomes_the_teacher(tmp_path, data, layout):
    source = plain()
    scheduler = {"num_train_timesteps": 50, "beta_schedule": "squaredcos_cap_v2"}
    folder = layout(tmp_path / "from", source, prediction_type="v_prediction", **scheduler)
    job = take(folder, tmp_path, data)
    network, process = load_diffusion(job.out)
    for name, weight in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight)
    assert process.prediction == "v"
    theirs = DDPMScheduler(**scheduler).alphas_cumprod
    assert torch.allclose(process.schedule.alphas_cumprod.float(), theirs, rtol=1e-5)
    (line,) = [json.loads(text) for text in (job.state / "log.jsonl").read_text().splitlines()]
    assert line["step"] == 0
    assert line["params"] == sum(p.numel() for p in source.parameters())


def rewrite(folder, name, **changes):
    write_json(folder / name, read_json(folder / name) | changes)


def change_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def truncate(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only_pickle(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()


BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json does not exist"),
    "no scheduler": (
        lambda f: (f / "scheduler_config.json").unlink(),
        r"scheduler_config\.json does not exist",
    ),
    "config is not JSON": (
        lambda f: (f / "config.json").write_text("{"),
        r"config\.json: not valid JSON",
    ),
    "class": (
        lambda f: rewrite(f, "config.json", _class_name="UNet2DConditionModel"),
        r"class 'UNet2DConditionModel' is not allowed; it can be UNet2DModel",
    ),
    "truncated": (truncate, r"the weights cannot be read"),
    "pickle": (only_pickle, r"weights are read from safetensors only"),
    "missing tensor": (
        lambda f: change_weights(f, lambda w: w.pop("conv_in.bias")),
        r"1 missing in the file, conv_in\.bias",
    ),
    "shape of a tensor": (
        lambda f: change_weights(f, lambda w: w.update({"conv_in.bias": torch.zeros(3)})),
        r"the weights cannot be read .*conv_in\.bias",
    ),
    "not finite": (
        lambda f: change_weights(f, lambda w: w["conv_in.bias"].fill_(float("nan"))),
        r"conv_in\.bias holds values that are not finite",
    ),
    "scheduler": (
        lambda f: rewrite(f, "scheduler_config.json", _class_name="ScoreSdeVeScheduler"),
        r"scheduler 'ScoreSdeVeScheduler' is not one of a variance-preserving",
    ),
    "prediction": (
        lambda f: rewrite(f, "scheduler_config.json", prediction_type="flow"),
        r"prediction_type 'flow' is not known",
    ),
    "zero terminal SNR": (
        lambda f: rewrite(f, "scheduler_config.json", rescale_betas_zero_snr=True),
        r"rescale_betas_zero_snr is not supported",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_one_clear_line(tmp_path, data, case):
    spoil, message = BAD[case]
    folder = flat(tmp_path / "from")
    spoil(folder)
    with pytest.raises(StageError, match=message) as caught:
        take(folder, tmp_path, data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("teacher.from = ")
    assert not any((tmp_path / "job" / "out").iterdir())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"channels": 3}, r"made for images .* \(3, 8, 8\); those of the data set are \(1, 8, 8\)"),
        ({"size": 16}, r"made for images .* \(1, 16, 16\)"),
        ({"num_class_embeds": 10}, r"needs class labels"),
    ],
)
def test_a_network_for_other_data_is_one_clear_line(tmp_path, data, network, message):
    folder = flat(tmp_path / "from", plain(**network))
    with pytest.raises(StageError, match=message):
        take(folder, tmp_path, data)


def test_a_one_step_student_is_no_teacher(tmp_path, data):
    folder = tmp_path / "from"
    folder.mkdir()
    save_model(folder, plain(), OneStepProcess(make_schedule(settings().schedule), "eps"))
    with pytest.raises(StageError, match=r"a one_step model is not a diffusion model"):
        take(folder, tmp_path, data)


def test_init_from_starts_from_the_finished_weights(tmp_path, data):
    first, second = make_job(tmp_path / "a"), make_job(tmp_path / "b")
    stage.train(settings(steps=3), first, data=data)
    barely = {"lr": 1e-12}
    stage.train(settings(steps=1, init_from=str(first.out), optimizer=barely), second, data=data)
    ours, theirs = (load_file(job.out / WEIGHTS) for job in (second, first))
    for name, weight in theirs.items():
        assert torch.allclose(ours[name], weight, atol=1e-9)


def test_init_from_another_shape_names_the_tensor(tmp_path, data):
    folder = flat(tmp_path / "from", plain(channels=3))
    with pytest.raises(StageError, match=r"init_from = .*conv_in\.weight has shape \(8, 3, 3, 3\)"):
        stage.train(settings(init_from=str(folder)), make_job(tmp_path), data=data)


# The hub


def test_a_name_that_is_neither_folder_nor_hub_id(tmp_path, data):
    with pytest.raises(StageError, match=r"'/no/such/folder': no such folder, and not the form"):
        take("/no/such/folder", tmp_path, data)


@pytest.fixture
def offline_hub(tmp_path, monkeypatch):
    """Return the hub's cache folder, with the network off."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("offline_hub")
def test_a_hub_id_without_network_is_one_clear_line(tmp_path, data):
    with pytest.raises(StageError, match=r"'owner/ddpm': no such folder, .* from the hub") as error:
        take("owner/ddpm", tmp_path, data)
    assert "\n" not in str(error.value)


def test_a_hub_id_in_the_cache_works_without_network(tmp_path, data, offline_hub):
    commit = "0123456789" * 4
    repository = offline_hub / "models--owner--ddpm"
    shutil.copytree(flat(tmp_path / "from"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    job = take("owner/ddpm", tmp_path, data)
    network, _ = load_diffusion(job.out)
    assert torch.equal(network.conv_in.weight, plain().conv_in.weight)
