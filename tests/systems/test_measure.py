"""evaluation.reference and .measure: every number recorded, exact resume, bad input named."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import slimgen.systems.shared.evaluation.measure as measure_stage
from slimgen.config.base import Network, NoiseSchedule
from slimgen.config.shared import MeasureSettings, ReferenceSettings
from slimgen.data.dataset import to_uint8
from slimgen.data.files import digest, read_json, write_json
from slimgen.diffusion.denoiser import ConsistencyProcess, DiffusionProcess, OneStepProcess
from slimgen.diffusion.sampling import generate
from slimgen.diffusion.saved import load_model, load_network, save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.evaluation.complexity import Macs
from slimgen.evaluation.frechet import fit_gaussian, frechet_distance
from slimgen.evaluation.pixel_gaussian import sample_pixel_gaussian
from slimgen.evaluation.record import RANK_DEFICIENT, SHOWN, find, read_records
from slimgen.evaluation.reference import load_reference
from slimgen.networks.classifier import (
    Classifier,
    ClassifierShape,
    load_classifier,
    save_classifier,
)
from slimgen.networks.stored import WEIGHTS
from slimgen.networks.unet import make_unet
from slimgen.systems.shared.evaluation.measure import measure
from slimgen.systems.shared.evaluation.reference import reference
from slimgen.training.job import Job, StageError, Stopped

SCORES = ("fid_classifier", "is_classifier", "kid_classifier", "precision_classifier")
SIZES = ("params", "macs", "macs_conv_linear", "latency_ms")


def make_images(n, seed):
    """Smooth images uint8 (n, 1, 8, 8) with a bright quarter that is the class; not Gaussian."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    images = rng.integers(0, 60, (n, 1, 8, 8)).astype(np.uint8)
    for i, label in enumerate(labels):
        y, x = 4 * (label // 2), 4 * (label % 2)
        images[i, 0, y : y + 4, x : x + 4] += 150
    return images, labels.astype(np.int64)


def make_job(folder, stage="evaluation.measure", seed=0):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage=stage, out=folder / "out", state=folder / "state", seed=seed, code="c" * 64)


def reference_settings(**changes):
    return ReferenceSettings.model_validate({"num_images": 60, "is_splits": 2} | changes)


def measure_settings(**changes):
    base = {
        "num_images": 24,
        "batch_size": 10,
        "samplers": ["ddim-2", "dpm-3"],
        "is_splits": 2,
        "kid_subsets": 3,
        "latency_repeats": 5,
        "grid": 3,
    }
    return MeasureSettings.model_validate(base | changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Data, classifier, reference, and models of every kind, with random weights."""
    root = tmp_path_factory.mktemp("world")
    paths = {name: root / name for name in ("data", "classifier", "teacher", "one", "consistency")}
    for path in paths.values():
        path.mkdir()
    for seed, (split, n) in enumerate({"train": 40, "report": 32}.items()):
        images, labels = make_images(n, seed)
        np.savez(paths["data"] / f"{split}.npz", images=images, labels=labels)
    write_json(paths["data"] / "manifest.json", {"num_classes": 4})
    torch.manual_seed(0)
    save_classifier(
        paths["classifier"],
        Classifier(ClassifierShape(in_channels=1, num_classes=4, channels=(8, 16), features=12)),
    )
    network = make_unet(
        Network(
            block_out_channels=(8, 16),
            layers_per_block=1,
            attention=(False, False),
            mid_attention=False,
            norm_num_groups=4,
        ),
        channels=1,
        size=8,
    )
    schedule = make_schedule(NoiseSchedule())
    save_model(paths["teacher"], network, DiffusionProcess(schedule, "eps"))
    save_model(paths["one"], network, OneStepProcess(schedule, "eps"))
    save_model(paths["consistency"], network, ConsistencyProcess(0.002, 80.0, 0.5))
    job = make_job(root / "reference", "evaluation.reference")
    reference(reference_settings(), job, data=paths["data"], classifier=paths["classifier"])
    return SimpleNamespace(**paths, reference=job.out)


def run(world, job, model="teacher", **changes):
    measure(
        measure_settings(**changes),
        job,
        model=getattr(world, model),
        reference=world.reference / "reference.npz",
        classifier=world.classifier,
    )
    return read_records(job.out / "records.json")


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory):
    job = make_job(tmp_path_factory.mktemp("measured"))
    return SimpleNamespace(job=job, records=run(world, job))


def test_the_reference_says_floor_gaussian_and_accuracy(world):
    records = read_records(world.reference / "records.json")
    floor, gauss = find(records, "floor", "train"), find(records, "fid_gauss", "gaussian")
    assert 0 < floor.value < gauss.value
    assert (floor.num_images, gauss.num_images) == (40, 60)
    assert 1 <= find(records, "is_classifier", "report").value <= 4
    assert 0 <= find(records, "classifier_accuracy", "report").value <= 1
    for metric in ("precision_classifier", "recall_classifier", "kid_classifier"):
        find(records, metric, "train")
    read = load_reference(world.reference)
    assert (read.floor, read.gauss) == (floor.value, gauss.value)
    assert len(read.features) == 32


def test_the_references_numbers_worked_out_again(world, tmp_path):
    """Train against report split, not the reverse; the Gaussian's images depend on the seed."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    network = load_classifier(world.classifier)

    def features(images):
        with torch.no_grad():
            return network.features(torch.as_tensor(images).float() / 127.5 - 1)

    train, report = (features(make_images(n, seed)[0]) for seed, n in ((0, 40), (1, 32)))
    shares = prc_features_to_metric(
        train.double(), report.double(), prc_neighborhood=1, verbose=False
    )
    assert shares["precision"] != shares["recall"]
    floor = frechet_distance(fit_gaussian(train), fit_gaussian(report))
    pixels = torch.from_numpy(make_images(40, 0)[0])
    gauss = []
    for seed in (0, 7):
        job = make_job(tmp_path / str(seed), "evaluation.reference", seed)
        settings = reference_settings(neighbours=1)
        reference(settings, job, data=world.data, classifier=world.classifier)
        records = read_records(job.out / "records.json")
        for metric in ("precision", "recall"):
            assert find(records, f"{metric}_classifier").value == pytest.approx(shares[metric])
        assert find(records, "floor").value == pytest.approx(floor, rel=1e-4)
        drawn = torch.cat(list(sample_pixel_gaussian(pixels, num_images=60, seed=seed)))
        expected = frechet_distance(fit_gaussian(features(drawn)), fit_gaussian(report))
        gauss.append(find(records, "fid_gauss").value)
        assert gauss[-1] == pytest.approx(expected, rel=1e-4)
    assert gauss[0] != gauss[1]


def test_sizes_are_those_of_the_network(world, measured, tmp_path, monkeypatch):
    network = load_network(world.teacher)
    params = sum(p.numel() for p in network.parameters())
    assert find(measured.records, "params").value == params
    monkeypatch.setattr(measure_stage, "count_macs", lambda *_: Macs(10, 3))
    records = run(world, make_job(tmp_path), samplers=["ddim-2"])
    assert find(records, "macs").value == 13
    assert find(records, "macs_conv_linear").value == 10


def test_the_rate_of_images_is_their_number_by_the_seconds(measured):
    for sampler in ("ddim-2", "dpm-3"):
        seconds = find(measured.records, "generation_seconds", sampler).value
        rate = find(measured.records, "images_per_second", sampler).value
        assert rate == pytest.approx(24 / seconds)


def test_every_number_is_there_once_with_its_provenance(world, measured):
    records = measured.records
    for metric in SIZES:
        find(records, metric)
    for sampler, nfe, spacing in (("ddim-2", 2, "uniform"), ("dpm-3", 3, "time_uniform")):
        for metric in (*SCORES, "recall_classifier", "q", "generation_seconds"):
            record = find(records, metric, sampler)
            assert (record.nfe, record.spacing, record.num_images) == (nfe, spacing, 24)
            assert record.eta == (0.0 if sampler == "ddim-2" else None)
        fid = find(records, "fid_classifier", sampler)
        assert fid.features == "classifier"
        assert fid.features_sha256 == digest(world.classifier / "model.safetensors")
        assert fid.resize == "none"
    for record in records:
        assert record.model_sha256 == digest(world.teacher / WEIGHTS)
        assert record.model_md5 == digest(world.teacher / WEIGHTS, "md5")
        assert (record.code, record.seed) == ("c" * 64, 0)
        assert (record.device, record.dtype) == ("cpu", "float32")
        assert record.seconds >= 0


def test_q_is_fid_between_floor_and_gaussian(world, measured):
    read = load_reference(world.reference)
    for sampler in ("ddim-2", "dpm-3"):
        fid = find(measured.records, "fid_classifier", sampler).value
        expected = (fid - read.floor) / (read.gauss - read.floor)
        assert find(measured.records, "q", sampler).value == pytest.approx(expected, rel=1e-12)


def test_latency_has_a_spread_and_its_conditions(measured):
    latency = find(measured.records, "latency_ms")
    assert latency.value > 0
    assert latency.spread is not None
    assert latency.spread > 0
    assert (latency.batch, latency.threads) == (1, torch.get_num_threads())


def test_the_picture_is_of_the_sampler_with_the_lowest_fid(measured):
    fids = [r for r in measured.records if r.metric == "fid_classifier"]
    best = min(fids, key=lambda r: r.value)
    assert [r for r in measured.records if r.note and SHOWN in r.note] == [best]
    picture, grid = measured.job.out / "samples.png", measured.job.state / f"{best.sampler}.png"
    assert picture.read_bytes() == grid.read_bytes()


def test_few_images_are_noted_as_rank_deficient(world, tmp_path):
    records = run(world, make_job(tmp_path), num_images=12, samplers=["ddim-2"])
    assert RANK_DEFICIENT in (find(records, "fid_classifier").note or "")
    assert find(records, "q").note == RANK_DEFICIENT
    assert find(records, "kid_classifier").note is None


def test_each_kind_of_model_has_its_samplers(world, tmp_path):
    one = run(world, make_job(tmp_path / "one"), "one")
    assert {r.sampler for r in one if r.metric == "q"} == {"one-step"}
    assert find(one, "q").nfe == 1
    steps = run(world, make_job(tmp_path / "many"), "consistency", consistency_steps=[1, 3])
    assert {(r.sampler, r.nfe) for r in steps if r.metric == "q"} == {
        ("consistency-1", 1),
        ("consistency-3", 3),
    }


def test_a_stopped_measurement_goes_on_and_ends_the_same(world, measured, tmp_path, monkeypatch):
    job, calls, original = make_job(tmp_path), [], measure_stage.generate

    def stopping(*arguments, **keywords):
        calls.append((arguments[1], keywords["start"]))
        if len(calls) == 5:  # the second batch of the second sampler
            job.signal_name = "SIGTERM"
        return original(*arguments, **keywords)

    monkeypatch.setattr(measure_stage, "generate", stopping)
    with pytest.raises(Stopped):
        run(world, job)
    assert list(job.out.iterdir()) == []
    job.signal_name = None
    records = run(world, job)
    assert calls == [(name, start) for name in ("ddim-2", "dpm-3") for start in (0, 10, 20)]
    changing = ("latency_ms", "generation_seconds", "images_per_second")
    ours, theirs = (
        [(r.metric, r.sampler, r.value) for r in found if r.metric not in changing]
        for found in (records, measured.records)
    )
    assert ours == theirs
    assert digest(job.out / "samples.png") == digest(measured.job.out / "samples.png")


def test_the_order_of_samplers_and_the_batch_size_change_no_score(world, measured, tmp_path):
    records = run(world, make_job(tmp_path), samplers=["dpm-3", "ddim-2"], batch_size=24)
    for metric in SCORES:
        for sampler in ("ddim-2", "dpm-3"):
            expected = find(measured.records, metric, sampler).value
            assert find(records, metric, sampler).value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("seed", "eta"), [(0, 0.0), (1, 0.0), (0, 1.0)])
def test_fid_of_the_record_is_that_of_the_images(world, measured, tmp_path, seed, eta):
    changes = {"sampling": {"eta": eta}, "samplers": ["ddim-2"]}
    records = run(world, make_job(tmp_path, seed=seed), **changes)
    images = generate(
        load_model(world.teacher),
        "ddim-2",
        measure_settings(**changes).sampling,
        seed=seed,
        start=0,
        count=24,
        shape=(1, 8, 8),
        device="cpu",
    )
    pixels = to_uint8(images).float() / 127.5 - 1
    with torch.no_grad():
        features = load_classifier(world.classifier).features(pixels)
    expected = frechet_distance(fit_gaussian(features), load_reference(world.reference).gaussian)
    found = find(records, "fid_classifier", "ddim-2").value
    assert found == pytest.approx(expected, rel=1e-3)
    plain = find(measured.records, "fid_classifier", "ddim-2").value
    assert (found == plain) == ((seed, eta) == (0, 0.0))  # they are little apart, but apart


def test_inception_that_is_absent_leaves_no_output(world, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("SLIMGEN_MIRROR", raising=False)
    job = make_job(tmp_path, "evaluation.reference")
    with pytest.raises(StageError, match=r"^evaluation\.reference: Inception's file .* is not at"):
        reference(reference_settings(features="inception"), job, data=world.data)
    assert list(job.out.iterdir()) == []


def test_another_classifier_than_the_references_is_refused(world, tmp_path):
    other = tmp_path / "classifier"
    other.mkdir()
    save_classifier(
        other,
        Classifier(ClassifierShape(in_channels=1, num_classes=4, channels=(8, 16), features=12)),
    )
    job = make_job(tmp_path)
    with pytest.raises(StageError, match="but the reference was made with"):
        measure(
            measure_settings(),
            job,
            model=world.teacher,
            reference=world.reference,
            classifier=other,
        )
    assert list(job.out.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("classifier/model.safetensors", r"model\.safetensors: the weights cannot be read"),
        ("reference/reference.npz", r"reference\.npz: not a reference"),
        (f"teacher/{WEIGHTS}", "weights|damaged|truncated|cannot be read"),
    ],
)
def test_truncated_inputs_are_named_and_leave_no_output(world, tmp_path, file, message):
    for name in ("classifier", "reference", "teacher"):
        shutil.copytree(getattr(world, name), tmp_path / name)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-100])
    job = make_job(tmp_path / "job")
    with pytest.raises(StageError, match=message) as error:
        measure(
            measure_settings(),
            job,
            model=tmp_path / "teacher",
            reference=tmp_path / "reference",
            classifier=tmp_path / "classifier",
        )
    assert "\n" not in str(error.value)
    assert list(job.out.iterdir()) == []


def test_a_model_of_other_images_is_refused(world, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(world.teacher, model)
    write_json(model / "config.json", read_json(model / "config.json") | {"sample_size": 16})
    world = SimpleNamespace(**(vars(world) | {"teacher": model}))
    with pytest.raises(StageError, match=r"\(1, 16, 16\), those of the reference \(1, 8, 8\)"):
        run(world, make_job(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 3}, "num_images = 3: too few"),
        ({"is_splits": 30}, "num_images = 24: too few.* at least 30"),
    ],
)
def test_too_few_generated_images_are_one_clear_line(world, tmp_path, changes, message):
    with pytest.raises(StageError, match=message):
        run(world, make_job(tmp_path), **changes)


@pytest.mark.parametrize(("n", "message"), [(1, "at least 2"), (3, "no neighbour number 3")])
def test_a_report_split_too_small_is_one_clear_line(world, tmp_path, n, message):
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    images, labels = make_images(n, 9)
    np.savez(data / "report.npz", images=images, labels=labels)
    job = make_job(tmp_path, "evaluation.reference")
    with pytest.raises(StageError, match=message):
        reference(reference_settings(), job, data=data, classifier=world.classifier)
    assert list(job.out.iterdir()) == []
