"""dbnas.student: only the passes that count are computed; a resumed run ends with the same bits."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.config.dbnas import StudentSettings, SupernetSettings
from slimgen.diffusion.saved import load_model, load_network
from slimgen.distillation.block_loss import distillation_losses
from slimgen.distillation.taps import teacher_features
from slimgen.networks.kernel_supernet import extract
from slimgen.networks.searched_unet import unet_config
from slimgen.systems.dbnas import student as student_module
from slimgen.systems.dbnas.artefacts import load_supernet, space_of
from slimgen.systems.dbnas.student import student
from slimgen.systems.dbnas.supernet import supernet
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.seeding import batch_indices, derive_seed, make_rng

STEPS = 8
BASE = {
    "steps": STEPS,
    "batch_size": 4,
    "log_every": 1,
    "optimizer": {"lr": 5e-3, "clip_norm": 1.0},
    "ema": {"decay": 0.5},
}


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    """Return the folders of a supernet and of an arch.json."""
    folder = tmp_path_factory.mktemp("found")
    (folder / "state").mkdir()
    job = Job(stage="dbnas.supernet", out=folder / "supernet", state=folder / "state", seed=0)
    settings = SupernetSettings(steps=1, batch_size=4)
    supernet(settings, job, teacher=tiny.teacher, data=tiny.data)
    space = space_of(load_supernet(job.out))
    kernels = {name: [1, 5] * (count // 2) for name, count in space.positions}
    (folder / "arch.json").write_text(json.dumps({"kernels": kernels}))
    return job.out, folder / "arch.json"


def run(tiny, found, job, **changes):
    settings = StudentSettings(**(BASE | changes))
    arch = None if settings.search == "base" else found[1]
    net = found[0] if settings.init == "supernet" else None
    student(settings, job, teacher=tiny.teacher, data=tiny.data, arch=arch, supernet=net)
    return load_model(job.out)


def lines(job):
    return [json.loads(line) for line in (job.state / "log.jsonl").read_text().splitlines()]


def same(a, b):
    a, b = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("changes", "dis", "ori"),
    [
        ({"beta": "linear"}, range(4), range(1, 8)),
        ({"beta": "step"}, range(4), range(4, 8)),
        ({"beta": "fixed"}, range(8), range(8)),
        ({"beta": "no_dis"}, (), range(8)),
    ],
)
def test_only_needed_passes_are_computed(tiny, found, make_job, monkeypatch, changes, dis, ori):
    """Passes are counted where they happen, and the log tells the same."""
    passes = {"teacher": 0, "student": 0}
    for name, kind in (("teacher_features", "teacher"), ("denoising_loss", "student")):
        real = getattr(student_module, name)

        def counted(*args, real=real, kind=kind):
            passes[kind] += 1
            return real(*args)

        monkeypatch.setattr(student_module, name, counted)
    job = make_job("run")
    run(tiny, found, job, **changes)
    assert passes == {"teacher": len(dis), "student": len(ori)}
    log = lines(job)
    assert [i for i, line in enumerate(log) if "l_dis" in line] == list(dis)
    assert [i for i, line in enumerate(log) if "l_ori" in line] == list(ori)
    for line in log:
        weighed = (1 - line["beta"]) * line.get("l_dis", 0.0) + line["beta"] * line.get("l_ori", 0)
        assert line["loss"] == pytest.approx(weighed, rel=1e-5)


@pytest.mark.parametrize(("flip", "timesteps"), [(False, "antithetic"), (True, "uniform")])
def test_the_first_step_is_the_joint_loss_on_noised_train_images(
    tiny, plain_teacher, make_job, flip, timesteps
):
    """Both terms worked out again: same weights, images, timesteps and noise, nothing else read."""
    job, n = make_job("first", seed=11), 8
    changes = {"search": "base", "beta": "fixed", "flip": flip, "timesteps": timesteps}
    settings = StudentSettings(**(BASE | changes | {"batch_size": n}))
    student(settings, job, teacher=plain_teacher, data=tiny.only("train"))
    teacher, rng = load_network(plain_teacher), make_rng(11, 0, "update")
    torch.manual_seed(derive_seed(11, 0, "init"))
    start = UNet2DModel(**unet_config(teacher))
    x_t, t, v = noised_train_images(tiny, settings, seed=11, rng=rng)
    with torch.no_grad():
        losses = distillation_losses(start, teacher_features(teacher, x_t, t), x_t, t)
        l_ori = (start(x_t, t).sample - v).square().mean()
    line = lines(job)[0]
    assert line["l_dis"] == pytest.approx(sum(map(float, losses.values())), rel=1e-4)
    assert line["l_ori"] == pytest.approx(float(l_ori), rel=1e-4)


def noised_train_images(tiny, settings, *, seed, rng):
    """Return x_t, t and the target v of the first batch, by the formulas."""
    n = settings.batch_size
    with np.load(tiny.data / "train.npz") as file:
        images = torch.from_numpy(file["images"])
    x0 = images[batch_indices(len(images), n, 0, seed)].float() / 127.5 - 1
    if settings.flip:
        mirrored = torch.rand(n, generator=rng) < 0.5
        assert mirrored.any()
        x0[mirrored] = x0[mirrored].flip(3)
    if settings.timesteps == "antithetic":
        half = torch.randint(1000, (n // 2,), generator=rng)
        t = torch.cat([half, 999 - half])
    else:
        t = torch.randint(1000, (n,), generator=rng)
    eps = torch.randn(x0.shape, generator=rng)
    abar = tiny.process.schedule.alphas_cumprod[t].float()[:, None, None, None]
    a, s = abar.sqrt(), (1 - abar).sqrt()
    return a * x0 + s * eps, t, a * eps - s * x0


def test_the_averaged_weights_are_saved(tiny, found, make_job):
    """An average that hardly moves stays at the start, wherever the raw weights went."""
    still = {"lr": 1e-30, "clip_norm": None}
    start = run(tiny, found, make_job("start"), optimizer=still)
    slow = run(tiny, found, make_job("slow"), ema={"decay": 1 - 1e-9}).network.state_dict()
    fast = run(tiny, found, make_job("fast"), ema={"decay": 0.0}).network.state_dict()
    for name, weight in start.network.state_dict().items():
        assert torch.allclose(slow[name], weight, atol=1e-6)
        assert not torch.allclose(fast[name], weight, atol=1e-4)


def test_gamma_weighs_the_distillation(tiny, found, make_job):
    job = make_job("gamma")
    run(tiny, found, job, beta="fixed", beta_value=0.25, gamma=3.0, steps=2)
    for line in lines(job):
        weighed = 3.0 * 0.75 * line["l_dis"] + 0.25 * line["l_ori"]
        assert line["loss"] == pytest.approx(weighed, rel=1e-5)


@pytest.mark.parametrize("step", [2, 5])
def test_resumed_equals_uninterrupted(tiny, found, make_job, stop_at, step):
    whole = run(tiny, found, make_job("whole"))
    job = make_job("halves")
    stop_at(job, step)
    with pytest.raises(Stopped):
        run(tiny, found, job)
    assert same(whole, run(tiny, found, make_job("halves")))


def test_the_scale_of_fp16_survives_a_restart(tiny, found, make_job, stop_at, fp16_scales):
    half, job = {"runtime": {"precision": "fp16"}}, make_job("halves")
    stop_at(job, 3)
    with pytest.raises(Stopped):
        run(tiny, found, job, **half)
    run(tiny, found, make_job("halves"), **half)
    assert fp16_scales() == [2.0**4, 2.0**STEPS]


def test_saved_student_has_the_arch_and_the_teachers_process(tiny, found, make_job):
    job = make_job("saved")
    model = run(tiny, found, job, steps=2)
    assert type(model.network).__name__ == "SearchedUNet2DModel"
    assert model.network.config.kernels["mid_block"] == [1, 5, 1, 5]
    assert model.process.prediction == "v"
    assert torch.allclose(
        model.process.schedule.alphas_cumprod, tiny.process.schedule.alphas_cumprod
    )


def test_base_is_the_teachers_own_class(tiny, found, make_job):
    for init in ("random", "supernet"):
        model = run(tiny, found, make_job(init), search="base", init=init, steps=2)
        assert type(model.network).__name__ == "UNet2DModel"


def test_start_from_the_supernet_is_the_extracted_path(tiny, found, make_job):
    """With a learning rate near zero, the student stays where it starts."""
    still = {"lr": 1e-30, "clip_norm": None}
    model = run(tiny, found, make_job("start"), init="supernet", steps=2, optimizer=still)
    kernels = json.loads(found[1].read_text())["kernels"]
    expected = extract(load_supernet(found[0]), kernels).state_dict()
    got = model.network.state_dict()
    assert all(torch.allclose(got[name], expected[name], atol=1e-7) for name in expected)
    fresh = run(tiny, found, make_job("random"), steps=2, optimizer=still).network.state_dict()
    assert not torch.allclose(fresh["conv_in.weight"], expected["conv_in.weight"])


def test_every_module_trains(tiny, found, make_job):
    """In the first half of `step`, from L_dis alone: no part waits for the second half."""
    start = run(tiny, found, make_job("a"), beta="step", steps=2, optimizer={"lr": 1e-30})
    end = run(tiny, found, make_job("b"), beta="fixed", beta_value=0.0, steps=2)
    before, after = start.network.state_dict(), end.network.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_bad_inputs_are_named(tiny, found, make_job, tmp_path):
    def start(settings, **inputs):
        student(settings, make_job("bad"), teacher=tiny.teacher, data=tiny.data, **inputs)

    with pytest.raises(StageError, match="search = 'S2' and --arch"):
        start(StudentSettings(**BASE))
    with pytest.raises(StageError, match="search = 'base' and --arch"):
        start(StudentSettings(**BASE, search="base"), arch=found[1])
    with pytest.raises(StageError, match="needs --supernet"):
        start(StudentSettings(**BASE, init="supernet"), arch=found[1])
    (tmp_path / "arch.json").write_text(json.dumps({"kernels": {"mid_block": [3, 3, 3, 3]}}))
    with pytest.raises(StageError, match="kernels name the blocks"):
        start(StudentSettings(**BASE), arch=tmp_path)
    with pytest.raises(StageError, match=r"arch\.json does not exist"):
        start(StudentSettings(**BASE), arch=tmp_path / "x" / "arch.json")
    broken = tmp_path / "supernet"
    shutil.copytree(found[0], broken)
    config = json.loads((broken / "config.json").read_text())
    config["unet"]["norm_eps"] = 1.0
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="trained for another U-Net"):
        start(StudentSettings(**BASE, init="supernet"), arch=found[1], supernet=broken)
