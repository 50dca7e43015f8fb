"""autogan.student and autogan.transfer: exact resume, selection, averages, published cells."""

import json

import pytest
import torch
from stopping import same

from slimgen.config.autogan import StudentSettings, TransferSettings
from slimgen.data.dataset import load_split
from slimgen.networks.autogan_arch import Arch
from slimgen.networks.autogan_generator import load_generator, save_generator
from slimgen.systems.autogan import student as stage
from slimgen.systems.autogan.derive import Derived
from slimgen.systems.autogan.gan import shrink
from slimgen.systems.autogan.space import PUBLISHED, Found, arch_record
from slimgen.systems.autogan.transfer import transfer
from slimgen.training.checkpoint import load_checkpoint
from slimgen.training.job import StageError, Stopped
from slimgen.training.precision import resolve

TINY = {
    "steps": 3,
    "n_critic": 2,
    "batch_size": 6,
    "generator_batch": 4,
    "z_dim": 5,
    "generator_width": 4,
    "discriminator_width": 4,
    "ema": {"decay": 0.5},
    "log_every": 1,
    "checkpoint_seconds": 0.0,
}
SELECTION = {"selection_images": 12, "selection_batch": 8, "is_splits": 1, "top_k": 2}
FIRST = Arch.from_code((0, 1, 0, 1, 0, 1, 2, 1, 1))
SECOND = Arch.from_code((1, 0, 1, 1, 1, 2, 0, 0, 1))
THIRD = Arch.from_code((1, 1, 1, 1, 0, 0, 1, 1, 0))


def settings(**changes):
    return StudentSettings(**(TINY | SELECTION | changes))


def derived_settings(**changes):
    return TransferSettings(**(TINY | changes))


@pytest.fixture
def found(tmp_path):
    def write(*archs):
        file = tmp_path / "arch.json"
        record = {"skip_source": "conv", "archs": arch_record([Found(a, 1.5) for a in archs])}
        file.write_text(json.dumps(record))
        return file

    return write


def weights(job):
    return load_generator(job.out).state_dict()


def selection(job):
    return json.loads((job.out / "selection.json").read_text())


def test_stopped_and_resumed_equals_uninterrupted(make_job, data, classifier, found):
    inputs = {"data": data, "reward_classifier": classifier, "arch": found(FIRST, SECOND)}
    whole = make_job("whole")
    stage.student(settings(), whole, **inputs)
    for stop in (2, 2):  # in the first candidate, then in the second one
        with pytest.raises(Stopped):
            stage.student(settings(), make_job("parts", stop_after=stop), **inputs)
    parts = make_job("parts")
    assert load_checkpoint(parts.state)[0] == 4
    stage.student(settings(), parts, **inputs)
    assert same(weights(whole), weights(parts))
    assert selection(whole) == selection(parts)
    ends = [load_checkpoint(job.state)[1] for job in (whole, parts)]
    for end in ends:
        del end["seconds"]
    assert same(*ends)


def test_the_smallest_distance_is_kept(make_job, data, classifier, found):
    archs = (FIRST, SECOND, THIRD)
    records = {}
    for arch in archs:  # each alone, and then together
        job = make_job(arch.text)
        stage.student(settings(), job, data=data, reward_classifier=classifier, arch=found(arch))
        (records[arch],) = selection(job)["candidates"]
        assert load_generator(job.out).arch == arch
    job = make_job("together")
    given = settings(top_k=2)
    stage.student(given, job, data=data, reward_classifier=classifier, arch=found(*archs))
    chosen = min(archs[:2], key=lambda arch: records[arch]["frechet_distance"])
    assert selection(job)["candidates"] == [records[FIRST], records[SECOND]]
    assert selection(job)["chosen"] == archs.index(chosen)
    assert load_generator(job.out).arch == chosen
    assert same(weights(job), weights(make_job(chosen.text)))
    assert records[FIRST]["shared_inception_score"] == 1.5
    assert records[FIRST]["inception_score"] >= 1


def derived(data, arch, **changes):
    images = load_split(data, "train")
    given = derived_settings(**changes)
    return Derived(given, arch, images=images, compute=resolve(given.runtime, "cpu"), seed=0)


def test_average_holds_parameters_and_statistics(data):
    mean = "to_rgb.0.running_mean"
    for average in (True, False):
        one = derived(data, FIRST, average_buffers=average)
        expected = {k: v.clone() for k, v in one.network.state_dict().items()}
        for step in range(3):
            one.update(step, steps=3)
            now = one.network.state_dict()
            for name in ("linear.weight", mean, "cells.0.first.post.norm.running_var"):
                expected[name] = torch.lerp(expected[name], now[name], 0.5)
        ours, live = one.ema.module.state_dict(), one.network.state_dict()
        torch.testing.assert_close(ours["linear.weight"], expected["linear.weight"])
        kept = expected[mean] if average else live[mean]
        torch.testing.assert_close(ours[mean], kept)
        assert not torch.allclose(expected[mean], live[mean])


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_architectures_train_by_name(make_job, data32, classifier3, name):
    job = make_job()
    given = settings(arch=name, steps=1, n_critic=1)
    stage.student(given, job, data=data32, reward_classifier=classifier3)
    generator = load_generator(job.out)
    assert generator.arch == PUBLISHED[name]
    assert generator(torch.randn(2, 5)).shape == (2, 3, 32, 32)


def test_transfer_keeps_the_cells_and_follows_the_images(make_job, data, data16, classifier, found):
    source = make_job("student")
    stage.student(settings(), source, data=data, reward_classifier=classifier, arch=found(SECOND))
    job = make_job("transfer")
    transfer(derived_settings(), job, data=data16, model=source.out)
    generator = load_generator(job.out)
    assert generator.arch == SECOND
    assert (generator.bottom_width, generator.shape) == (4, (1, 16, 16))
    with pytest.raises(StageError, match="trained with skip_source 'conv'; it is 'sum' here"):
        transfer(derived_settings(skip_source="sum"), make_job("x"), data=data16, model=source.out)


def test_transfer_resumes_exactly(make_job, data16):
    given = derived_settings(arch=SECOND.code)
    whole = make_job("whole")
    transfer(given, whole, data=data16)
    with pytest.raises(Stopped):
        transfer(given, make_job("parts", stop_after=2), data=data16)
    parts = make_job("parts")
    transfer(given, parts, data=data16)
    assert same(weights(whole), weights(parts))


def test_init_from_starts_from_a_finished_generator(tmp_path, data):
    finished = derived(data, FIRST)
    finished.update(0, steps=3)
    (tmp_path / "model").mkdir()
    save_generator(tmp_path / "model", finished.ema.module)
    again = derived(data, FIRST, init_from=str(tmp_path / "model"))
    assert same(dict(again.network.state_dict()), dict(finished.ema.module.state_dict()))
    with pytest.raises(ValueError, match="has shape"):
        derived(data, SECOND, init_from=str(tmp_path / "model"))


def test_real_images_shrink_to_means():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    assert shrink(x, 4) is x
    quarter = shrink(x, 2)
    assert quarter.shape == (1, 2, 2, 2)
    assert quarter[0, 0, 0, 0] == x[0, 0, :2, :2].mean()


def test_bad_inputs_are_named(make_job, data, data16, data32, classifier, classifier3, found):
    job = make_job()
    with pytest.raises(StageError, match=r"comes from --arch or from settings\.arch"):
        stage.student(settings(), job, data=data, reward_classifier=classifier)
    with pytest.raises(StageError, match=r"comes from --arch or from settings\.arch"):
        stage.student(
            settings(arch="A"), job, data=data, reward_classifier=classifier, arch=found(FIRST)
        )
    with pytest.raises(StageError, match=r"squares of 16, 24, .* the images are 8 x 8"):
        stage.student(settings(arch="A"), job, data=data, reward_classifier=classifier)
    with pytest.raises(StageError, match=r"comes from --model or from settings\.arch"):
        transfer(derived_settings(), job, data=data16)
    with pytest.raises(StageError, match=r"config\.json does not exist"):
        transfer(derived_settings(), job, data=data16, model=data)
    with pytest.raises(StageError, match=r"init_from: .* does not exist"):
        transfer(derived_settings(arch=SECOND.code, init_from=str(data)), job, data=data16)
