"""Pipelines of GAN Compression at one-step scale, and the laws between their stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slimgen.config.gan_compression import (
    ExportSettings,
    SearchSettings,
    StudentSettings,
    SupernetSettings,
    TeacherSettings,
)
from slimgen.data.pairs import load_pairs
from slimgen.evaluation.complexity import count_macs
from slimgen.networks.translators import extract_translator, open_translator, shape_of
from slimgen.systems.gan_compression.artefacts import load_supernet, resolve_widths
from slimgen.systems.gan_compression.distilled import Distillation
from slimgen.systems.gan_compression.export import export
from slimgen.systems.gan_compression.search import search
from slimgen.systems.gan_compression.student import student
from slimgen.systems.gan_compression.supernet import draw_sandwich, draw_uniform, supernet
from slimgen.systems.gan_compression.teacher import teacher
from slimgen.training.job import Job, StageError, Stopped
from slimgen.training.precision import resolve

COMMON = {"steps": 1, "batch_size": 2, "discriminator": {"ndf": 4, "num_layers": 2}}
GENERATOR = {"ngf": 6, "blocks": 3}
SET = ((6, 4, 2),) * 8
STILL = {"optimizer": {"lr": 1e-12}, "discriminator_optimizer": {"lr": 1e-12}}


def plain_job(folder: Path) -> Job:
    (folder / "state").mkdir(parents=True)
    (folder / "out").mkdir()
    return Job(stage="gan_compression.test", out=folder / "out", state=folder / "state")


@pytest.fixture(scope="module")
def fast(edges, tmp_path_factory) -> dict[str, Path]:
    """The fast pipeline on pairs: teacher -> supernet -> search (by PSNR: no classifier)."""
    root = tmp_path_factory.mktemp("fast")
    job = plain_job(root / "teacher")
    settings = TeacherSettings.model_validate(COMMON | {"generator": GENERATOR, "steps": 2})
    teacher(settings, job, data=edges)
    parts = {"teacher": job.out}
    job = plain_job(root / "supernet")
    options = COMMON | {"config_set": SET, "steps": 3}
    supernet(SupernetSettings.model_validate(options), job, data=edges, teacher=parts["teacher"])
    parts["supernet"] = job.out
    job = plain_job(root / "search")
    found = SearchSettings(
        criterion="psnr", budget_ratio=3, population=4, generations=1, num_images=6
    )
    search(found, job, data=edges, supernet=parts["supernet"], teacher=parts["teacher"])
    return parts | {"arch": job.out / "arch.json"}


@pytest.fixture
def fine_tune(fast, edges, make_job):
    def run(name: str, *, data: Path = edges, stop_after: int | None = None, **settings) -> Path:
        complete = StudentSettings.model_validate(COMMON | settings)
        job = make_job(name, stop_after=stop_after)
        inputs = {"teacher": fast["teacher"]}
        if complete.search is not None:
            inputs["arch"] = fast["arch"]
            if "supernet" in (complete.begin, complete.discriminator_init):
                inputs["supernet"] = fast["supernet"]
        student(complete, job, data=data, **inputs)
        return job.out

    return run


def images(data: Path) -> torch.Tensor:
    return load_pairs(data, "report").batch_inputs(torch.arange(4))


@torch.no_grad()
def test_a_trained_supernet_equals_its_extracted_subnets(fast, edges) -> None:
    whole, x = load_supernet(fast["supernet"], "cpu", build=None), images(edges)
    for widths in (whole.space.largest, whole.space.smallest, (6, 4, 2, 6, 4, 2, 4, 6)):
        small = extract_translator(whole.network, widths)
        assert torch.equal(whole.network(x, widths), small(x))
        assert shape_of(small).widths == widths
    assert shape_of(whole.network.network).separable == ("blocks",)


def test_a_student_begins_at_the_supernets_weights(fast, edges, fine_tune) -> None:
    found = json.loads(fast["arch"].read_text())
    whole = load_supernet(fast["supernet"], "cpu", build=None)
    x = images(edges)
    wanted = whole.network(x, tuple(found["widths"]))
    as_it_is = open_translator(fine_tune("zero", steps=0))
    assert torch.equal(as_it_is(x), wanted)
    assert count_macs(as_it_is, x[:1]).total == found["macs"]
    hardly = open_translator(fine_tune("still", **STILL))
    torch.testing.assert_close(hardly(x), wanted, rtol=1e-4, atol=1e-6)
    moved = open_translator(fine_tune("moved"))
    assert not torch.allclose(moved(x), wanted, rtol=1e-4, atol=1e-6)


def test_baselines_differ_in_what_they_say(fast, edges, fine_tune) -> None:
    found = json.loads(fast["arch"].read_text())
    x, widths = images(edges), tuple(found["widths"])
    scratch = fine_tune("scratch", begin="random", distill=False, discriminator_init="fresh")
    tuned = fine_tune("tuned")
    assert shape_of(open_translator(scratch)).widths == widths
    uniform = open_translator(fine_tune("uniform", arch="uniform"))
    chosen = shape_of(uniform).widths
    assert len(set(chosen)) == 1
    assert count_macs(uniform, x[:1]).total <= found["macs"]
    wider = shape_of(uniform).with_widths((chosen[0] + 1,) * 8)
    assert count_macs(type(uniform)(wider), x[:1]).total > found["macs"]
    given = fine_tune("given", search=None, widths="2_2_4_2_2_2_2_2", begin="random")
    assert shape_of(open_translator(given)).widths == (2, 2, 4, 2, 2, 2, 2, 2)
    texts = {(folder / "model.safetensors").read_bytes() for folder in (scratch, tuned)}
    assert len(texts) == 2


@pytest.mark.parametrize("begin", ["supernet", "random"])
def test_the_discriminator_is_the_teachers_the_supernets_or_fresh(fast, fine_tune, begin) -> None:
    def weights(folder: Path) -> torch.Tensor:
        return load_file(folder / "adversary.safetensors")["discriminator.model.0.weight"]

    theirs = {name: weights(fast[name]) for name in ("teacher", "supernet")}
    assert not torch.allclose(theirs["teacher"], theirs["supernet"], rtol=1e-5, atol=1e-7)
    for name in ("teacher", "supernet", "fresh"):
        ours = weights(fine_tune(name, begin=begin, discriminator_init=name, **STILL))
        for other, tensor in theirs.items():
            assert torch.allclose(ours, tensor, rtol=1e-5, atol=1e-7) == (other == name)


def distillation(fast, edges, **settings) -> Distillation:
    complete = StudentSettings.model_validate(COMMON | settings)
    compute, wide = resolve(complete.runtime, "cpu"), open_translator(fast["teacher"])
    whole = load_supernet(fast["supernet"], "cpu", build=None)
    narrow = extract_translator(whole.network, (4,) * 8)
    pairs = load_pairs(edges, "train")
    taps = ("model.9", "model.12")
    return Distillation(
        complete, narrow, wide, pairs, taps=taps, draw=None, compute=compute, seed=0
    )


def test_adapters_are_trained_with_the_student(fast, edges) -> None:
    run = distillation(fast, edges)
    before = [p.detach().clone() for p in run.adapters.parameters()]
    teacher_before = [p.clone() for p in run.teacher.parameters()]
    metrics = run.update(0, torch.Generator())
    weights = [p for p in run.adapters.parameters() if p.dim() > 1]
    assert all(not torch.equal(p, old) for p, old in zip(weights, before[::2], strict=True))
    assert [tuple(w.shape) for w in weights] == [(24, 16, 1, 1)] * 2  # student 16, teacher 24
    for p, old in zip(run.teacher.parameters(), teacher_before, strict=True):
        assert torch.equal(p, old)
    terms = [metrics[name] for name in ("loss_gan", "loss_recon", "loss_distill")]
    torch.testing.assert_close(torch.stack(terms).sum(), metrics["loss"])


def test_the_matched_features_pull_the_student(fast, edges) -> None:
    alone = {"lambda_gan": 0.0, "lambda_recon": 0.0, "optimizer": {"lr": 1e-2}}
    run = distillation(fast, edges, **alone)
    losses = [float(run.update(0, torch.Generator())["loss_distill"]) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("stage", ["supernet", "student"])
def test_a_killed_training_ends_with_the_same_bytes(stage, fast, edges, make_job, fine_tune):
    def run(name: str, stop_after: int | None = None) -> Path:
        if stage == "student":
            return fine_tune(name, steps=4, stop_after=stop_after, log_every=1)
        settings = COMMON | {"steps": 4, "config_set": SET, "log_every": 1}
        job = make_job(name, stop_after=stop_after)
        supernet(
            SupernetSettings.model_validate(settings), job, data=edges, teacher=fast["teacher"]
        )
        return job.out

    whole = run("whole")
    with pytest.raises(Stopped):
        run("killed", stop_after=2)
    again = run("killed")
    weights = "model" if stage == "student" else "supernet"
    for name in (f"{weights}.safetensors", "adversary.safetensors"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_width_vectors_are_drawn_from_the_step_alone(fast) -> None:
    space = load_supernet(fast["supernet"], "cpu", build=None).space
    draw = draw_uniform(space, 0)
    drawn = [draw(step)[0] for step in range(60)]
    assert drawn == [draw(step)[0] for step in range(60)]
    assert all({widths[i] for widths in drawn} == {6, 4, 2} for i in range(8))
    wide, narrow, other = draw_sandwich(space, 0, 1)(3)
    assert (wide, narrow) == (space.largest, space.smallest)
    space.check(other)


def test_unpaired_students(strokes, tmp_path) -> None:
    base = COMMON | {"task": "unpaired"}
    job = plain_job(tmp_path / "teacher")
    settings = TeacherSettings.model_validate(base | {"generator": GENERATOR})
    teacher(settings, job, data=strokes)
    alone = {"search": None, "widths": "4_4_4_4_4_4_4_4", "begin": "random"}
    pseudo = plain_job(tmp_path / "pseudo")
    settings = StudentSettings.model_validate(base | alone)
    student(settings, pseudo, data=strokes, teacher=job.out)
    cycles = plain_job(tmp_path / "cycles")
    settings = StudentSettings.model_validate(
        base | alone | STILL | {"distill": False, "pseudo_pairs": False}
    )
    student(settings, cycles, data=strokes, teacher=job.out)
    beside = load_file(cycles.out / "adversary.safetensors")
    theirs = load_file(job.out / "adversary.safetensors")
    assert beside.keys() == theirs.keys()
    name = "back.generator.model.1.weight"
    torch.testing.assert_close(beside[name], theirs[name], rtol=1e-5, atol=1e-7)
    assert not any(
        key.startswith("back") for key in load_file(pseudo.out / "adversary.safetensors")
    )


def test_the_target_of_an_unpaired_student_is_the_teachers_image(strokes, tmp_path) -> None:
    base = COMMON | {"task": "unpaired", "generator": GENERATOR}
    job = plain_job(tmp_path / "teacher")
    teacher(TeacherSettings.model_validate(base), job, data=strokes)
    wide, twin = open_translator(job.out), open_translator(job.out)
    settings = StudentSettings.model_validate(COMMON | {"task": "unpaired"})
    run = Distillation(
        settings,
        twin,
        wide,
        load_pairs(strokes, "train"),
        taps=(),
        draw=None,
        compute=resolve(settings.runtime, "cpu"),
        seed=0,
    )
    assert float(run.update(0, torch.Generator())["loss_recon"]) == 0.0


def test_onnx_is_the_same_network(fine_tune, edges, make_job) -> None:
    model = fine_tune("model")
    job = make_job("export")
    export(ExportSettings(num_images=5, latency_repeats=2), job, data=edges, model=model)
    record = json.loads((job.out / "export.json").read_text())
    assert record["bytes"] == (job.out / "generator.onnx").stat().st_size
    assert record["opset"] >= 18
    import onnxruntime

    session = onnxruntime.InferenceSession(str(job.out / "generator.onnx"))
    for count in (1, 3):  # any number of images
        x = images(edges)[:count]
        with torch.no_grad():
            wanted = open_translator(model)(x)
        found = torch.from_numpy(session.run(None, {"images": x.numpy()})[0])
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    with pytest.raises(StageError, match=r"differ from torch's.*tolerance = 1e-12"):
        export(ExportSettings(tolerance=1e-12), job, data=edges, model=model)
    assert not (job.out / "generator.onnx").exists()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"widths": "4_4_4"}, "3 widths: a ResNet generator has 8"),
        ({"widths": "9_4_4_4_4_4_4_4"}, "width 9 of stem: it lies between 1 and 6"),
        ({"widths": "4-4"}, "'4-4' is no width vector"),
        ({"widths": "horse2zebra/slow"}, "published vectors: horse2zebra/gan-compression"),
        ({"taps": ("model.99",)}, r"no module 'model.99'; near names: model.9"),
    ],
)
def test_bad_input_is_one_line(fine_tune, settings, line) -> None:
    with pytest.raises(StageError, match=line) as caught:
        fine_tune("bad", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"config_set": ((4, 2),) * 7}, "config_set: widths .* eight positive integers are needed"),
        ({"config_set": "channels-63"}, "channels-63' of resnet: use channels-48"),
        ({"config_set": ((2, 4),) * 8}, "list wide ones first"),
        ({"config_set": SET, "taps": ("modle.9",)}, "no module 'modle.9'; near names: model.9"),
        ({"config_set": SET, "begin": "teacher"}, "its weights fit where both are equal"),
    ],
)
def test_a_supernet_that_cannot_be(fast, edges, make_job, settings, line) -> None:
    complete = SupernetSettings.model_validate(COMMON | settings)
    with pytest.raises(StageError, match=line) as caught:
        supernet(complete, make_job(), data=edges, teacher=fast["teacher"])
    assert "\n" not in str(caught.value)


def test_a_discriminator_of_no_supernet(fast, edges, make_job) -> None:
    given = COMMON | {"begin": "random", "discriminator_init": "supernet"}
    settings, folder = StudentSettings.model_validate(given), fast["teacher"]
    with pytest.raises(StageError, match="--supernet is needed: discriminator_init is supernet"):
        student(settings, make_job(), data=edges, teacher=folder, arch=fast["arch"])


def test_published_vectors_by_name(fast) -> None:
    shape = shape_of(open_translator(fast["teacher"]))
    assert resolve_widths("horse2zebra/legacy", shape) == (24, 24, 24, 32, 32, 32, 20, 16)
    assert resolve_widths("16_16_32_16_32_32_16_16", shape) == resolve_widths(
        "horse2zebra/gan-compression", shape
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"search": None},
        {"search": None, "widths": "4_4_4_4_4_4_4_4"},
        {"search": None, "widths": "4_4", "begin": "random", "discriminator_init": "supernet"},
        {"task": "unpaired", "pseudo_pairs": False},
        {
            "task": "unpaired",
            "pseudo_pairs": False,
            "distill": False,
            "discriminator_init": "supernet",
        },
    ],
)
def test_settings_that_contradict_each_other(settings) -> None:
    with pytest.raises(ValueError, match=r"search: null|pseudo_pairs: off"):
        StudentSettings.model_validate(settings)
