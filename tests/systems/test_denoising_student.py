"""denoising_student.student: its start, its losses, the best average, and exact resume."""

import json
import random

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from PIL import Image

import slimgen.systems.denoising_student.student as stage
from slimgen.config.base import NoiseSchedule
from slimgen.config.denoising_student import StudentSettings
from slimgen.data.files import digest
from slimgen.diffusion.denoiser import DiffusionProcess, OneStepProcess
from slimgen.diffusion.saved import load_model, load_network, save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.evaluation.grid import save_grid
from slimgen.networks.searched_unet import SearchedUNet2DModel
from slimgen.systems.denoising_student.shards import PairFiles, write_pairs
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.seeding import batch_indices

MODEL_FILES = [
    "config.json",
    "diffusion_pytorch_model.safetensors",
    "process.json",
    "scheduler_config.json",
]

STEPS = 14
SHAPE = (1, 8, 8)
ARGUMENTS = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "dropout": 0.5,
}
KERNELS = {
    "down_blocks.0": [1, 3],
    "down_blocks.1": [5, 3],
    "mid_block": [3, 3, 1, 5],
    "up_blocks.0": [3, 3, 5, 1],
    "up_blocks.1": [1, 1, 3, 5],
}


def save_teacher(folder, prediction="eps", kernels=None):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(4)
    network = SearchedUNet2DModel(kernels, **ARGUMENTS) if kernels else UNet2DModel(**ARGUMENTS)
    save_model(folder, network, DiffusionProcess(make_schedule(NoiseSchedule()), prediction))
    return folder


def save_pairs(folder, counts=(30, 10), held_out=20, shape=SHAPE):
    """Noise, and images that are a smooth function of it (half the noise, clipped)."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    names = [f"shard-{i:03d}.npz" for i in range(len(counts))]
    for name, count in [*zip(names, counts, strict=True), ("held_out.npz", held_out)]:
        z = rng.standard_normal((count, *shape)).astype(np.float16)
        x0 = np.clip(127.5 + 60 * z.astype(np.float64), 0, 255).round().astype(np.uint8)
        write_pairs(folder / name, z=z, x0=x0)
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return save_pairs(tmp_path_factory.mktemp("pairs"))


def settings(**changes):
    base = {
        "steps": STEPS,
        "batch_size": 8,
        "optimizer": {"lr": 1e-3, "betas": [0.9, 0.98], "warmup": 3},
        "ema": {"decay": 0.5},
        "test_every": 4,
        "log_every": 2,
        "checkpoint_seconds": 1000,
    }
    return StudentSettings.model_validate(base | changes)


def make_job(folder):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(
        stage="denoising_student.student", out=folder / "out", state=folder / "state", seed=5
    )


def run(folder, pairs, teacher, **changes):
    job = make_job(folder)
    stage.student(settings(**changes), job, pairs=pairs, teacher=teacher)
    return job


def held_out_losses(job):
    lines = [json.loads(line) for line in (job.state / "log.jsonl").open()]
    return [line["held_out_loss"] for line in lines if "held_out_loss" in line]


def generate(folder, z):
    model = load_model(folder)
    assert isinstance(model.process, OneStepProcess)
    with torch.no_grad():
        return model.process.generate(model.network, z)


@pytest.mark.parametrize(
    ("prediction", "kernels"), [("eps", None), ("v", None), ("x0", None), ("eps", KERNELS)]
)
def test_the_student_starts_as_the_teacher_at_the_last_timestep(
    tmp_path, pairs, prediction, kernels
):
    teacher = save_teacher(tmp_path / "teacher", prediction, kernels)
    job = run(
        tmp_path, pairs, teacher, steps=1, test_every=1, optimizer={"lr": 1e-30}, ema={"decay": 0}
    )
    z = torch.randn(4, *SHAPE)
    with torch.no_grad():
        unet = load_network(teacher)(z, 999).sample
    abar = make_schedule(NoiseSchedule()).alphas_cumprod[-1]
    expected = {
        "eps": z - unet,
        "v": abar.sqrt().float() * z - (1 - abar).sqrt().float() * unet,
        "x0": unet,
    }[prediction]
    assert torch.allclose(generate(job.out, z), expected, atol=1e-6)
    assert type(load_network(job.out)) is type(load_network(teacher))


def test_the_student_has_no_dropout(tmp_path, pairs, teacher):
    assert load_network(teacher).config.dropout == 0.5
    job = run(tmp_path, pairs, teacher, steps=1)
    network = load_network(job.out)
    assert network.config.dropout == 0.0
    dropouts = [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)]
    assert set(dropouts) == {0.0}


def test_interpolation_is_between_images_of_two_noises(tmp_path, pairs, teacher):
    job = run(tmp_path, pairs, teacher, steps=1)
    model = load_model(job.out)
    images = stage.interpolate(model.process, model.network, SHAPE, seed=job.seed, device="cpu")
    assert images.shape == (stage.LINES * stage.COLUMNS, *SHAPE)
    lines = images.float().view(stage.LINES, stage.COLUMNS, -1)
    whole = (lines[:, 0] - lines[:, -1]).norm(dim=1)
    steps = (lines[:, 1:] - lines[:, :-1]).norm(dim=2)
    assert (steps.max(1).values < 0.4 * whole).all()  # a path of small steps, not of ten new images
    assert len(torch.unique(lines[:, 0], dim=0)) == stage.LINES
    ours = np.asarray(Image.open(job.out / "interpolation.png"))
    save_grid(tmp_path / "again.png", images, stage.COLUMNS)
    assert np.array_equal(ours, np.asarray(Image.open(tmp_path / "again.png")))


def test_losses_are_sums_over_values_and_means_over_images():
    torch.manual_seed(0)
    output, x0 = torch.randn(2, 3, 1, 4, 4)
    d = (output - x0).numpy().reshape(3, 16).astype(np.float64)
    closed_forms = {
        "l1": np.abs(d).sum(1).mean(),
        "l2": (d**2).sum(1).mean(),
        "pseudo_huber": (np.sqrt((d**2).sum(1) + 0.7**2) - 0.7).mean(),
    }
    for loss, expected in closed_forms.items():
        ours = stage.pair_loss(settings(loss=loss, huber_c=0.7), output, x0)
        assert float(ours) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_first_step_is_the_distance_to_the_teachers_images(tmp_path, pairs, teacher, loss):
    """Worked out again from the files: F(z) = z - UNet(z, T), summed over an image's values."""
    job = run(tmp_path, pairs, teacher, loss=loss, steps=1)
    shards = [np.load(pairs / f"shard-00{i}.npz") for i in (0, 1)]
    z, x0 = (np.concatenate([shard[name] for shard in shards]) for name in ("z", "x0"))
    chosen = batch_indices(40, 8, 0, 5).numpy()
    noise = torch.from_numpy(z[chosen].astype(np.float32))
    with torch.no_grad():
        d = noise - load_network(teacher)(noise, 999).sample
    d = d.numpy().astype(np.float64) - (x0[chosen] / 127.5 - 1)
    expected = (np.abs(d) if loss == "l1" else d**2).sum() / 8
    line = json.loads((job.state / "log.jsonl").read_text().splitlines()[0])
    assert line["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["l1", "l2", "pseudo_huber"])
def test_distillation_learns_the_pairs(tmp_path, pairs, teacher, loss):
    job = run(
        tmp_path,
        pairs,
        teacher,
        loss=loss,
        steps=60,
        batch_size=20,
        test_every=20,
        optimizer={"lr": 4e-3, "warmup": 0},
    )
    losses = held_out_losses(job)
    assert losses[-1] < 0.6 * losses[0]


def test_the_average_of_the_lowest_held_out_loss_is_saved(tmp_path, teacher):
    # The student starts near F(z) = z and learns F(z) = -z / 2; held-out images are grey, F(z) = 0,
    # so that their loss falls first and rises then.
    folder = save_pairs(tmp_path / "pairs")
    for path in folder.iterdir():
        with np.load(path) as file:
            z, x0 = file["z"], file["x0"]
        write_pairs(path, z=z, x0=255 - x0 if "shard" in path.name else np.full_like(x0, 127))
    changes = {"steps": 30, "batch_size": 20, "test_every": 5, "log_every": 5}
    job = run(tmp_path, folder, teacher, optimizer={"lr": 4e-3, "warmup": 0}, **changes)
    losses = held_out_losses(job)
    assert losses[0] > 1.1 * min(losses)
    assert losses[-1] > 1.02 * min(losses)
    z, x0 = PairFiles([folder / "held_out.npz"]).batch(torch.arange(20))
    saved = stage.pair_loss(settings(), generate(job.out, z), x0)
    assert float(saved) == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "pseudo_huber", "runtime": {"precision": "fp16", "channels_last": True}},
        {"loss": "l2", "ema": {"decay": 0.9, "warmup": True}, "batch_size": 25},
    ],
)
def test_a_run_stopped_at_a_random_step_ends_with_the_same_bytes(
    tmp_path, pairs, teacher, monkeypatch, changes
):
    whole = run(tmp_path / "whole", pairs, teacher, **changes)
    stop = random.Random(str(changes)).randrange(1, STEPS - 1)
    parts = make_job(tmp_path / "parts")
    original, calls = stage.batch_indices, []

    def counting(*arguments, **keywords):
        calls.append(1)
        if len(calls) == stop + 1:
            parts.signal_name = "SIGUSR1"
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "batch_indices", counting)
        with pytest.raises(Stopped):
            stage.student(settings(**changes), parts, pairs=pairs, teacher=teacher)
    assert len(calls) == stop + 1
    parts.signal_name = None
    stage.student(settings(**changes), parts, pairs=pairs, teacher=teacher)
    assert f'{{"step": {stop + 1}, "event": "resumed"}}' in (parts.state / "log.jsonl").read_text()
    for name in MODEL_FILES:
        assert digest(parts.out / name) == digest(whole.out / name)


def test_the_best_average_survives_a_restart(tmp_path, teacher, pairs, monkeypatch):
    """The best weights so far are state: a run resumed after its best test still saves them."""
    offered = iter([3.0, 1.0, 2.0, 2.5])
    original = stage.Best.offer
    monkeypatch.setattr(
        stage.Best,
        "offer",
        lambda self, loss, step, network: original(self, next(offered), step, network),
    )
    job = make_job(tmp_path)
    kept = []
    load = stage.Best.load_state_dict

    def loading(self, state):
        kept.append(state)
        load(self, state)

    monkeypatch.setattr(stage.Best, "load_state_dict", loading)
    original_indices, calls = stage.batch_indices, []

    def counting(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 10:
            job.signal_name = "SIGTERM"
        return original_indices(*arguments, **keywords)

    monkeypatch.setattr(stage, "batch_indices", counting)
    with pytest.raises(Stopped):
        stage.student(settings(), job, pairs=pairs, teacher=teacher)
    job.signal_name = None
    stage.student(settings(), job, pairs=pairs, teacher=teacher)
    (state,) = kept
    assert (state["loss"], state["step"]) == (1.0, 8)
    saved = load_network(job.out).state_dict()
    for name, weight in state["weights"].items():
        assert torch.equal(saved[name], weight)


def test_init_from_replaces_the_teachers_weights(tmp_path, pairs, teacher):
    first = run(tmp_path / "a", pairs, teacher, steps=5)
    z = torch.randn(4, *SHAPE)
    barely = {"steps": 1, "optimizer": {"lr": 1e-30}, "ema": {"decay": 0}}
    second = run(tmp_path / "b", pairs, teacher, init_from=str(first.out), **barely)
    assert torch.allclose(generate(second.out, z), generate(first.out, z), atol=1e-6)


def without_shards(folder):
    for path in folder.glob("shard-*"):
        path.unlink()


def damaged(folder):
    path = folder / "held_out.npz"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_shards, r"no pair files"),
        (damaged, r"held_out\.npz: array 'z' cannot be read"),
        (lambda f: (f / "held_out.npz").unlink(), r"held_out\.npz: array 'z' cannot be read"),
        (lambda f: save_pairs(f, shape=(3, 8, 8)), r"images of shape \(3, 8, 8\) .*makes \(1, 8,"),
    ],
)
def test_bad_pairs_are_one_clear_line(tmp_path, teacher, spoil, message):
    folder = save_pairs(tmp_path / "pairs")
    spoil(folder)
    with pytest.raises(StageError, match=message):
        run(tmp_path, folder, teacher)
