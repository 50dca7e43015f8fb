"""evaluation.translate: records against what is made, grids, exact resume, bad input named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import slimgen.systems.shared.evaluation.translate as translate_stage
from slimgen.config.shared import ReferenceSettings, TranslateSettings
from slimgen.data.dataset import normalize, to_uint8
from slimgen.data.files import digest, read_json, write_json
from slimgen.data.pairs import load_pairs
from slimgen.evaluation.complexity import count_macs
from slimgen.evaluation.frechet import fit_gaussian, frechet_distance
from slimgen.evaluation.paired import psnr, ssim
from slimgen.evaluation.record import find, read_records
from slimgen.evaluation.reference import load_reference
from slimgen.networks.classifier import (
    Classifier,
    ClassifierShape,
    load_classifier,
    save_classifier,
)
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.translators import build_translator, open_translator, save_translator
from slimgen.systems.shared.evaluation.reference import reference
from slimgen.systems.shared.evaluation.translate import translate
from slimgen.training.job import Job, StageError, Stopped

POOLED = "mean over 2x2 pixels, as floats"
COUNTS = {"train": (40, 40), "report": (26, 26)}


def make_job(folder, stage="evaluation.translate", seed=0):
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage=stage, out=folder / "out", state=folder / "state", seed=seed, code="c" * 64)


def make_settings(**changes):
    base = {
        "batch_size": 10,
        "is_splits": 2,
        "kid_subsets": 3,
        "latency_repeats": 5,
        "grid": 3,
    }
    return TranslateSettings.model_validate(base | changes)


def write_data(folder, *, kind="image", relation="aligned", labelled=True, counts=COUNTS, size=16):
    """Bright quarters that are the class; inputs are darker, or maps of 4 grey levels."""
    folder.mkdir()
    for seed, (split, (n, m)) in enumerate(counts.items()):
        rng = np.random.default_rng(seed)
        half, sides = size // 2, []
        for count in (n, m):
            labels = np.arange(count) % 4
            images = rng.integers(0, 60, (count, 1, size, size)).astype(np.uint8)
            for i, label in enumerate(labels):
                y, x = half * (label // 2), half * (label % 2)
                images[i, 0, y : y + half, x : x + half] += 150
            sides.append((images, labels if labelled else np.full(count, -1)))
        (inputs, input_labels), (images, labels) = sides
        np.savez(
            folder / f"{split}.npz",
            inputs=inputs // 64 if kind == "labels" else inputs // 2,
            input_labels=input_labels,
            images=images,
            labels=labels,
        )
    manifest = {"pairs": relation, "input_kind": kind, "num_classes": 4 if labelled else 0}
    write_json(folder / "manifest.json", manifest | {"input_classes": 4 * (kind == "labels")})
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pairs, labels maps and unpaired images of 16 pixels, an 8-pixel classifier, generators."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    shape = ClassifierShape(in_channels=1, num_classes=4, channels=(8, 16), features=12)
    (root / "classifier").mkdir()
    save_classifier(root / "classifier", Classifier(shape))
    shapes = {
        "resnet": ResnetShape(1, 1, widths=(4,) * 8, blocks=3, separable=("blocks",)),
        "spade": SpadeShape(4, 1, widths=(2,) * 8, upsamplings=4),
    }
    for name, made_of in shapes.items():
        (root / name).mkdir()
        network = build_translator(made_of)
        for module in network.modules():  # running statistics that are not those of any batch
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        save_translator(root / name, network)
    unaligned = {"train": (40, 40), "report": (26, 21)}
    data = {
        "paired": write_data(root / "paired"),
        "semantic": write_data(root / "semantic", kind="labels"),
        "unpaired": write_data(root / "unpaired", relation="unaligned", counts=unaligned),
        "unlabelled": write_data(root / "unlabelled", labelled=False),
    }
    found = {}
    for name, folder in data.items():
        job = make_job(root / f"reference-{name}", "evaluation.reference")
        settings = ReferenceSettings(num_images=60, is_splits=2, pool=2)
        reference(settings, job, data=folder, classifier=root / "classifier")
        found[name] = job.out
    return SimpleNamespace(root=root, data=data, references=found, classifier=root / "classifier")


def run(world, job, data="paired", model="resnet", **changes):
    translate(
        make_settings(**changes),
        job,
        model=world.root / model,
        data=world.data[data],
        reference=world.references[data] / "reference.npz",
        classifier=world.classifier,
    )
    return read_records(job.out / "records.json")


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory):
    job = make_job(tmp_path_factory.mktemp("measured"))
    return SimpleNamespace(job=job, records=run(world, job))


def translations(world, data, model):
    """Every translation in one batch, as 8-bit images, and their features and logits."""
    pairs = load_pairs(world.data[data], "report")
    with torch.no_grad():
        made = open_translator(world.root / model)(pairs.batch_inputs(torch.arange(len(pairs))))
        images = to_uint8(made)
        network = load_classifier(world.classifier)
        pooled = normalize(images).unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean((3, 5))
        features = network.features(pooled)
        return pairs, images, features, network.head(features)


def test_the_reference_names_its_pooling_and_says_no_accuracy_without_labels(world):
    for name, folder in world.references.items():
        records = read_records(folder / "records.json")
        assert find(records, "floor").resize == POOLED
        assert load_reference(folder).pool == 2
        labelled = any(r.metric == "classifier_accuracy" for r in records)
        assert labelled == (name != "unlabelled")


@pytest.mark.parametrize(("data", "model"), [("paired", "resnet"), ("semantic", "spade")])
def test_records_are_of_the_8_bit_translations_of_every_input(world, tmp_path, data, model):
    records = run(world, make_job(tmp_path), data, model)
    pairs, images, features, logits = translations(world, data, model)
    read = load_reference(world.references[data])
    fid = frechet_distance(fit_gaussian(features), read.gaussian)
    assert find(records, "fid_classifier").value == pytest.approx(fid, rel=1e-3)
    q = (find(records, "fid_classifier").value - read.floor) / (read.gauss - read.floor)
    assert find(records, "q").value == pytest.approx(q, rel=1e-12)
    right = (logits.argmax(1) == pairs.input_labels).double().mean().item()
    assert find(records, "accuracy").value == pytest.approx(right)
    for metric, index in (("psnr", psnr), ("ssim", ssim)):
        values = index(images, pairs.targets)
        assert find(records, metric).value == pytest.approx(values.mean().item(), rel=1e-3)
        assert find(records, metric).spread == pytest.approx(values.std().item(), rel=1e-2)


def test_sizes_are_those_of_the_generator_by_both_conventions(world, measured):
    network = open_translator(world.root / "resnet")
    macs = count_macs(network, torch.zeros(1, 1, 16, 16))
    assert find(measured.records, "params").value == sum(p.numel() for p in network.parameters())
    assert find(measured.records, "macs").value == macs.total
    assert find(measured.records, "macs_torchprofile").value == macs.torchprofile > macs.total
    latency = find(measured.records, "latency_ms")
    assert latency.value > 0
    assert (latency.batch, latency.threads) == (1, torch.get_num_threads())


def test_every_number_has_its_provenance(world, measured):
    scores = ("fid", "is", "kid", "precision", "recall")
    for metric in (*(f"{name}_classifier" for name in scores), "q", "accuracy", "psnr", "ssim"):
        record = find(measured.records, metric, "translation")
        assert (record.nfe, record.num_images) == (1, 26)
        of_features = metric not in ("psnr", "ssim")
        assert record.resize == (POOLED if of_features else None)
        own = digest(world.classifier / "model.safetensors") if of_features else None
        assert record.features_sha256 == own
    for record in measured.records:
        weights = world.root / "resnet" / "model.safetensors"
        assert record.model_sha256 == digest(weights)
        assert record.model_md5 == digest(weights, "md5")
        assert (record.code, record.seed) == ("c" * 64, 0)
        assert (record.device, record.dtype) == ("cpu", "float32")


def test_without_alignment_or_labels_nothing_is_invented(world, tmp_path):
    records = run(world, make_job(tmp_path / "a"), "unpaired")
    metrics = {record.metric for record in records}
    assert "accuracy" in metrics  # of the label that a translation should keep
    assert not metrics & {"psnr", "ssim"}
    assert find(records, "q").num_images == 26  # inputs, of which there are more than targets
    records = run(world, make_job(tmp_path / "b"), "unlabelled")
    metrics = {record.metric for record in records}
    assert "accuracy" not in metrics
    assert {"psnr", "ssim"} <= metrics


def tiles(path, count=9, columns=3):
    """The images of a grid of tiles enlarged four times."""
    grid = np.array(Image.open(path))
    at = [(2 + i // columns * 66, 2 + i % columns * 66) for i in range(count)]
    return np.stack([grid[y : y + 64 : 4, x : x + 64 : 4] for y, x in at])


@pytest.mark.parametrize(
    ("data", "model"), [("paired", "resnet"), ("unpaired", "resnet"), ("semantic", "spade")]
)
def test_the_grids_show_the_same_items_in_the_same_places(world, tmp_path, data, model):
    job = make_job(tmp_path)
    run(world, job, data, model)
    pairs, images, _, _ = translations(world, data, model)
    inputs = 85 * pairs.inputs if data == "semantic" else pairs.inputs
    assert (tiles(job.out / "inputs.png") == inputs[:9, 0].numpy()).all()
    assert (tiles(job.out / "targets.png") == pairs.targets[:9, 0].numpy()).all()
    made = tiles(job.out / "samples.png").astype(int)
    assert np.abs(made - images[:9, 0].numpy()).max() <= 1  # another batch may round otherwise


def test_a_stopped_translation_goes_on_and_ends_the_same(world, measured, tmp_path, monkeypatch):
    job, starts, original = make_job(tmp_path), [], translate_stage.Subject.translate

    def stopping(self, forward, start, count):
        starts.append((start, count))
        if starts[-2:] == [(0, 10), (10, 10)]:
            job.signal_name = "SIGTERM"
        return original(self, forward, start, count)

    monkeypatch.setattr(translate_stage.Subject, "translate", stopping)
    with pytest.raises(Stopped):
        run(world, job)
    assert list(job.out.iterdir()) == []
    job.signal_name = None
    records = run(world, job)
    assert [s for s in starts if s[1] > 1] == [(0, 10), (10, 10), (20, 6)]
    changing = ("latency_ms", "generation_seconds", "images_per_second")
    ours, theirs = (
        [replace(r, seconds=0.0) for r in found if r.metric not in changing]
        for found in (records, measured.records)
    )
    assert ours == theirs
    for name in ("samples", "inputs", "targets"):
        assert digest(job.out / f"{name}.png") == digest(measured.job.out / f"{name}.png")


def test_small_images_have_psnr_and_no_ssim(world, tmp_path):
    data = write_data(tmp_path / "data", size=8)
    job = make_job(tmp_path / "reference", "evaluation.reference")
    settings = ReferenceSettings(num_images=60, is_splits=2)
    reference(settings, job, data=data, classifier=world.classifier)
    small = SimpleNamespace(
        root=world.root,
        data={"paired": data},
        references={"paired": job.out},
        classifier=world.classifier,
    )
    metrics = {record.metric for record in run(small, make_job(tmp_path / "job"))}
    assert "psnr" in metrics
    assert "ssim" not in metrics


@pytest.mark.parametrize(
    ("data", "model", "changes", "message"),
    [
        ("semantic", "resnet", {}, "does not translate inputs of shape .4, 16, 16."),
        ("paired", "resnet", {"is_splits": 40}, "inputs of the report split = 26: too few"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_output(
    world, tmp_path, data, model, changes, message
):
    job = make_job(tmp_path)
    with pytest.raises(StageError, match=message) as error:
        run(world, job, data, model, **changes)
    assert "\n" not in str(error.value)
    assert list(job.out.iterdir()) == []


def test_images_of_another_size_than_the_references_are_refused(world, tmp_path):
    data = write_data(tmp_path / "data", size=32)
    other = SimpleNamespace(**(vars(world) | {"data": {"paired": data}}))
    with pytest.raises(StageError, match=r"\(1, 32, 32\), those of the reference \(1, 16, 16\)"):
        run(other, make_job(tmp_path / "job"))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_generator_is_named(world, tmp_path, file):
    shutil.copytree(world.root / "resnet", tmp_path / "resnet")
    path = tmp_path / "resnet" / file
    if file == "config.json":
        write_json(path, read_json(path) | {"class": "Other"})
    else:
        path.write_bytes(path.read_bytes()[:-50])
    broken = SimpleNamespace(**(vars(world) | {"root": tmp_path}))
    with pytest.raises(StageError, match=file.replace(".", r"\.")):
        run(broken, make_job(tmp_path / "job"))


def test_single_images_cannot_be_translated(world, tmp_path):
    shutil.copytree(world.data["paired"], tmp_path / "data")
    write_json(tmp_path / "data" / "manifest.json", {"num_classes": 4})
    single = SimpleNamespace(**(vars(world) | {"data": {"paired": tmp_path / "data"}}))
    with pytest.raises(StageError, match="a data set of single images; pairs are needed"):
        run(single, make_job(tmp_path / "job"))
