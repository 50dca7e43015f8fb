"""denoising_student.pairs: consistent, one pair per index, resumable, the paper's formats."""

import math
import shutil

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from pydantic import ValidationError

import slimgen.systems.denoising_student.pairs as stage
from slimgen.config.base import NoiseSchedule
from slimgen.config.denoising_student import PairsSettings
from slimgen.data.dataset import to_uint8
from slimgen.data.files import digest, read_json
from slimgen.diffusion.denoiser import DiffusionProcess, OneStepProcess
from slimgen.diffusion.saved import load_network, save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.systems.denoising_student.shards import PairFiles, map_array, write_pairs
from slimgen.training.job import Job, StageError, Stopped


def save_teacher(folder, process=None):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(2)
    network = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    schedule = make_schedule(NoiseSchedule(num_train_timesteps=100, beta_end=0.2))
    save_model(folder, network, process or DiffusionProcess(schedule, "v"))
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher"))


def settings(**changes):
    base = {
        "sampler": "ddim-5",
        "sampling": {"spacing": "uniform"},
        "num_pairs": 50,
        "held_out": 12,
        "shard_size": 20,
        "batch_size": 8,
    }
    return PairsSettings.model_validate(base | changes)


def make_job(folder, seed=3):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(
        stage="denoising_student.pairs", out=folder / "out", state=folder / "state", seed=seed
    )


def make(folder, teacher, seed=3, **changes):
    job = make_job(folder, seed)
    stage.pairs(settings(**changes), job, model=teacher)
    return job.out


def read(folder, name):
    with np.load(folder / name, allow_pickle=False) as file:
        return file["z"], file["x0"]


def read_all(folder):
    shards = [read(folder, path.name) for path in sorted(folder.glob("shard-*.npz"))]
    return tuple(np.concatenate(arrays) for arrays in zip(*shards, strict=True))


def test_files_and_formats(tmp_path, teacher):
    out = make(tmp_path, teacher)
    expected = {"shard-000.npz": 20, "shard-001.npz": 20, "shard-002.npz": 10}
    assert settings().shards() == expected
    assert {path.name for path in out.iterdir()} == {*expected, "held_out.npz"}
    for name, count in (expected | {"held_out.npz": 12}).items():
        z, x0 = read(out, name)
        assert (z.dtype, x0.dtype) == (np.float16, np.uint8)
        assert z.shape == x0.shape == (count, 1, 8, 8)
    progress = read_json(tmp_path / "state" / "progress.json")
    assert progress["step"] == progress["steps"] == 62


def test_no_shard_of_earlier_settings_stays(tmp_path, teacher):
    """The student reads every shard of the folder; Snakemake deletes only what a run declares."""
    make(tmp_path / "first", teacher, num_pairs=9, shard_size=3)
    shutil.copytree(tmp_path / "first" / "out", tmp_path / "second" / "out")
    made = make(tmp_path / "second", teacher, num_pairs=6, shard_size=3)
    shards = sorted(path.name for path in made.glob("shard-*"))
    assert shards == ["shard-000.npz", "shard-001.npz"]


def test_noise_is_standard_normal_and_never_repeats(tmp_path, teacher):
    out = make(tmp_path, teacher)
    z = np.concatenate([read_all(out)[0], read(out, "held_out.npz")[0]]).astype(np.float64)
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size)
    assert len(np.unique(z.reshape(len(z), -1), axis=0)) == 62


def test_images_are_what_diffusers_ddim_makes_of_the_stored_noise(tmp_path, teacher):
    z, x0 = read_all(make(tmp_path, teacher))
    network, scheduler = load_network(teacher), DDIMScheduler.from_pretrained(teacher)
    scheduler.set_timesteps(5)
    x = torch.from_numpy(z).float()
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x, eta=0.0).prev_sample
    difference = np.abs(to_uint8(x).numpy().astype(int) - x0.astype(int))
    assert difference.max() <= 1  # another order of the same operations
    assert (difference > 0).mean() < 0.01
    assert len(np.unique(x0)) > 50


def test_the_teacher_sees_the_very_noise_that_is_stored(tmp_path, teacher, monkeypatch):
    """Bit for bit: float16's rounding moves no pixel by more than a level, so images hide it."""
    seen, original = [], stage.images_from_noise

    def watching(model, name, sampling, z, **others):
        seen.append(z)
        return original(model, name, sampling, z, **others)

    monkeypatch.setattr(stage, "images_from_noise", watching)
    out = make(tmp_path, teacher)
    z = np.concatenate([read_all(out)[0], read(out, "held_out.npz")[0]])
    assert np.array_equal(torch.cat(seen).numpy(), z.astype(np.float32))


def test_a_pair_depends_on_seed_and_index_alone(tmp_path, teacher):
    z, x0 = read_all(make(tmp_path / "a", teacher))
    other = make(tmp_path / "b", teacher, batch_size=7, shard_size=50, num_pairs=33, held_out=1)
    z_other, x0_other = read_all(other)
    assert np.array_equal(z[:33], z_other)
    difference = np.abs(x0[:33].astype(int) - x0_other.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert np.array_equal(
        read(tmp_path / "a" / "out", "held_out.npz")[0][:1], read(other, "held_out.npz")[0]
    )
    assert not np.array_equal(z, read_all(make(tmp_path / "c", teacher, seed=4))[0])


def test_a_stopped_run_keeps_its_finished_shards_and_ends_with_the_same_bytes(
    tmp_path, teacher, monkeypatch
):
    whole = make(tmp_path / "whole", teacher)
    job = make_job(tmp_path / "parts")
    made = []
    original = stage.images_from_noise

    def counting(*arguments, **keywords):
        made.append(1)
        if len(made) == 5:  # in the second of three batches of the second shard
            job.signal_name = "SIGTERM"
        return original(*arguments, **keywords)

    monkeypatch.setattr(stage, "images_from_noise", counting)
    with pytest.raises(Stopped):
        stage.pairs(settings(), job, model=teacher)
    assert [path.name for path in job.state.glob("*.npz")] == ["shard-000.npz"]
    assert not any(job.out.iterdir())
    job.signal_name = None
    made.clear()
    made.extend([1] * 10)  # count on, past the stop
    stage.pairs(settings(), job, model=teacher)
    assert len(made) - 10 == 3 + 2 + 2  # second and third shard, held-out pairs
    for path in whole.iterdir():
        assert digest(path) == digest(job.out / path.name)


def test_target_noise_is_gaussian_around_the_clean_target(tmp_path, teacher):
    std = 0.1
    z, clean = read_all(make(tmp_path / "clean", teacher, num_pairs=200))
    z_noisy, noisy = read_all(make(tmp_path / "noisy", teacher, num_pairs=200, target_noise=std))
    assert np.array_equal(z, z_noisy)
    inside = (clean > 70) & (clean < 185)  # five deviations from the clipping
    difference = (noisy.astype(float) - clean)[inside] / 127.5
    assert inside.sum() > 2000
    assert abs(difference.mean()) < 4 * std / math.sqrt(inside.sum())
    assert difference.std() == pytest.approx(std, rel=4 / math.sqrt(2 * inside.sum()))


def test_a_stochastic_teacher_is_a_config_error():
    with pytest.raises(ValidationError, match=r"the teacher of pairs is deterministic"):
        settings(sampling={"eta": 1.0})


@pytest.mark.parametrize(
    ("process", "changes", "message"),
    [
        (OneStepProcess, {}, r"a one_step model is not a diffusion model"),
        (DiffusionProcess, {"sampler": "ddim-101"}, r"101 sampling steps, .* only 100 timesteps"),
        (DiffusionProcess, {"sampling": {"spacing": "quad_0.8"}}, r"quad_0\.8 starts at timestep"),
    ],
)
def test_a_teacher_that_cannot_make_pairs_is_one_clear_line(tmp_path, process, changes, message):
    schedule = make_schedule(NoiseSchedule(betas="cosine", num_train_timesteps=100))
    folder = save_teacher(tmp_path / "teacher", process(schedule, "eps"))
    job = make_job(tmp_path)
    with pytest.raises(StageError, match=message):
        stage.pairs(settings(**changes), job, model=folder)
    assert not (job.state / "progress.json").exists()


# Files of pairs


def arrays(rng, count):
    z = rng.standard_normal((count, 3, 4, 4)).astype(np.float16)
    return z, rng.integers(0, 256, size=z.shape, dtype=np.uint8)


def test_mapped_files_give_the_same_pairs_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    parts = [arrays(rng, count) for count in (5, 1, 9)]
    paths = [tmp_path / f"shard-{i:03d}.npz" for i in range(3)]
    for path, (z, x0) in zip(paths, parts, strict=True):
        write_pairs(path, z=z, x0=x0)
    files = PairFiles(paths)
    assert len(files) == 15
    assert files.shape == (3, 4, 4)
    z_all, x0_all = (np.concatenate(both) for both in zip(*parts, strict=True))
    order = torch.from_numpy(np.concatenate([rng.permutation(15), [3, 3]]))
    z, x0 = files.batch(order)
    assert z.dtype == x0.dtype == torch.float32
    assert np.array_equal(z.numpy(), z_all[order].astype(np.float32))
    assert np.array_equal(to_uint8(x0).numpy(), x0_all[order])


def test_writing_twice_gives_equal_bytes(tmp_path):
    z, x0 = arrays(np.random.default_rng(0), 4)
    for name in ("a.npz", "b.npz"):
        write_pairs(tmp_path / name, z=z, x0=x0)
    assert digest(tmp_path / "a.npz") == digest(tmp_path / "b.npz")


def test_a_damaged_or_foreign_file_is_named(tmp_path):
    z, x0 = arrays(np.random.default_rng(0), 40)
    path = tmp_path / "shard-000.npz"
    write_pairs(path, z=z, x0=x0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard-000\.npz: array 'z' cannot be read"):
        map_array(path, "z")
    np.savez_compressed(path, z=z, x0=x0)
    with pytest.raises(ValueError, match=r"array 'z' cannot be read \(it is compressed\)"):
        map_array(path, "z")
    np.savez(path, z=z)
    with pytest.raises(ValueError, match=r"array 'x0' cannot be read"):
        PairFiles([path])
    np.savez(path, z=z.astype(np.float32), x0=x0)
    with pytest.raises(ValueError, match=r"z is float32 and x0 uint8"):
        PairFiles([path])
    np.savez(path, z=z, x0=x0[:10])
    with pytest.raises(ValueError, match=r"z has shape \(40, 3, 4, 4\) and x0 has shape \(10"):
        PairFiles([path])
    with pytest.raises(ValueError, match=r"no pair files"):
        PairFiles([])
