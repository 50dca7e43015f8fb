"""A generator is saved, loaded, sampled and measured like every model: by its z, in one pass."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from slimgen.config.base import Network, NoiseSchedule, Sampling
from slimgen.config.shared import MeasureSettings, ReferenceSettings
from slimgen.data.dataset import to_uint8
from slimgen.diffusion.denoiser import DiffusionProcess, GanProcess
from slimgen.diffusion.noise import initial_noise
from slimgen.diffusion.sampling import generate
from slimgen.diffusion.saved import load_diffusion, load_model, load_network, save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.evaluation.complexity import count_params
from slimgen.evaluation.frechet import fit_gaussian, frechet_distance
from slimgen.evaluation.record import find, read_records
from slimgen.evaluation.reference import load_reference
from slimgen.evaluation.sample import sample
from slimgen.networks.autogan_generator import AutoGanGenerator, save_generator
from slimgen.networks.classifier import load_classifier
from slimgen.networks.stored import ModelError
from slimgen.networks.unet import make_unet
from slimgen.systems.shared.evaluation.measure import measure
from slimgen.systems.shared.evaluation.reference import reference
from slimgen.training.job import Job, StageError

CODE = [1, 1, 2, 1, 0, 2, 1, 1, 1]
WIDTH, Z = 4, 6


def make_generator(code=CODE, seed=0, z_dim=Z):
    torch.manual_seed(seed)
    return AutoGanGenerator(code=code, width=WIDTH, bottom_width=2, z_dim=z_dim, channels=1).eval()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    save_generator(tmp_path / "model", make_generator())
    return tmp_path / "model"


def images(model, *, start=0, count=3, seed=0, name="one-step"):
    return generate(
        model, name, Sampling(), seed=seed, start=start, count=count, shape=(1, 8, 8), device="cpu"
    )


def test_image_i_of_a_seed_is_made_from_the_same_z_in_every_model(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    save_generator(other, make_generator([0, 0, 1, 0, 1, 1, 0, 0, 0], seed=1))
    z = initial_noise(5, 0, 40, (Z,))
    for path in (folder, other):
        model = load_model(path)
        assert isinstance(model.process, GanProcess)
        assert model.image_shape == (1, 8, 8)
        with torch.no_grad():
            expected = model.network(z)
        torch.testing.assert_close(images(model, seed=5, count=40), expected)
        torch.testing.assert_close(images(model, seed=5, start=30, count=10), expected[30:])


def test_only_its_own_sampler_fits(folder):
    with pytest.raises(ValueError, match="'ddim-2' does not fit a model of kind 'gan'"):
        images(load_model(folder), name="ddim-2")


def test_class_and_process_must_agree(folder, tmp_path):
    shape = Network(
        block_out_channels=(4, 4), layers_per_block=1, attention=(False, False), norm_num_groups=2
    )
    unet = tmp_path / "unet-folder"
    unet.mkdir()
    unet_model = make_unet(shape, channels=1, size=8)
    save_model(unet, unet_model, DiffusionProcess(make_schedule(NoiseSchedule()), "eps"))
    (unet / "process.json").write_text('{"kind": "gan"}')
    with pytest.raises(ModelError, match="'UNet2DModel' does not fit a process of kind gan"):
        load_model(unet)
    with pytest.raises(ModelError, match="'AutoGanGenerator' is not allowed; it can be UNet2D"):
        load_network(folder)
    with pytest.raises(ModelError, match="a gan model is not a diffusion model"):
        load_diffusion(folder)
    (folder / "process.json").write_text('{"kind": "consistency", "sigma_min": 1}')
    with pytest.raises(ModelError, match=r"process\.json"):
        load_model(folder)


def test_the_command_sample_shows_it(folder, tmp_path, capsys):
    out = tmp_path / "grid.png"
    sample(["--model", str(folder), "--out", str(out), "--num", "4"], "cpu")
    assert np.asarray(Image.open(out)).shape == (2 * 66 + 2, 2 * 66 + 2)
    assert "4 images by one-step" in capsys.readouterr().out


def make_job(folder, stage="evaluation.measure"):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage=stage, out=folder / "out", state=folder / "state", seed=3, code="c" * 64)


def test_a_generator_is_measured_by_its_z(folder, data, classifier, tmp_path):
    report = np.load(data / "validation.npz")
    world = tmp_path / "data"
    world.mkdir()
    for name in ("train.npz", "manifest.json"):
        (world / name).write_bytes((data / name).read_bytes())
    np.savez(world / "report.npz", images=report["images"], labels=report["labels"])
    job = make_job(tmp_path / "reference", "evaluation.reference")
    given = ReferenceSettings(num_images=60, is_splits=2)
    reference(given, job, data=world, classifier=classifier)
    measured = make_job(tmp_path / "measured")
    settings = MeasureSettings(
        num_images=30, batch_size=12, is_splits=2, kid_subsets=2, latency_repeats=3, latency_batch=5
    )
    measure(
        settings, measured, model=folder, reference=job.out / "reference.npz", classifier=classifier
    )
    records = read_records(measured.out / "records.json")
    assert {r.sampler for r in records if r.sampler} == {"one-step"}
    assert (find(records, "q").nfe, find(records, "q").num_images) == (1, 30)
    network = make_generator()
    assert find(records, "params").value == count_params(network)
    # Linear; cell 1 (2 -> 4) two 3x3, deconv 2x2 and 1x1; cell 2 likewise; to_rgb 3x3 on 8x8
    C = WIDTH
    first = 2 * 9 * C * C * 16 + 2 * (4 * C * C * 4) + C * C * 16  # convs, two deconvs, shortcut
    second = 2 * 9 * C * C * 64 + C * C * 64 + C * C * 64  # convs, skip and shortcut
    macs = Z * C * 4 + first + second + 9 * C * 64
    assert find(records, "macs").value == macs
    latency = find(records, "latency_ms")
    assert latency.value > 0
    assert latency.batch == 5
    pixels = to_uint8(images(load_model(folder), seed=3, count=30)).float() / 127.5 - 1
    with torch.no_grad():
        features = load_classifier(classifier).features(pixels)
    expected = frechet_distance(fit_gaussian(features), load_reference(job.out).gaussian)
    assert find(records, "fid_classifier").value == pytest.approx(expected, rel=1e-3)
    assert json.loads((folder / "process.json").read_text()) == {"kind": "gan"}


def test_a_generator_of_other_images_is_refused(data, classifier, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    save_generator(small, make_generator([1, 1, 1, 1]))  # one cell: 4 x 4
    world = tmp_path / "data"
    world.mkdir()
    for source, name in (("train", "train"), ("validation", "report")):
        (world / f"{name}.npz").write_bytes((data / f"{source}.npz").read_bytes())
    (world / "manifest.json").write_bytes((data / "manifest.json").read_bytes())
    job = make_job(tmp_path / "reference", "evaluation.reference")
    reference(ReferenceSettings(num_images=60, is_splits=2), job, data=world, classifier=classifier)
    with pytest.raises(StageError, match=r"its images are .* \(1, 4, 4\), those of the ref"):
        measure(
            MeasureSettings(num_images=30),
            make_job(tmp_path / "measured"),
            model=small,
            reference=job.out / "reference.npz",
            classifier=classifier,
        )
