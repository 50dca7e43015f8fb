"""gan_compression.teacher and mobile_teacher: exact resume of each task, cycles, bad input."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from stopping import same
from torch import nn

from slimgen.config.gan_compression import MobileTeacherSettings, TeacherSettings
from slimgen.data.pairs import load_pairs
from slimgen.networks.translators import open_translator
from slimgen.systems.gan_compression.adversary import load_adversary, make_discriminator
from slimgen.systems.gan_compression.cycles import Cycles
from slimgen.systems.gan_compression.mobile_teacher import mobile_teacher
from slimgen.systems.gan_compression.teacher import make_teacher, teacher
from slimgen.training.checkpoint import load_checkpoint
from slimgen.training.job import StageError, Stopped
from slimgen.training.precision import Compute

CPU = Compute(torch.device("cpu"), torch.float32, channels_last=False, compile=False)
TINY = {
    "steps": 4,
    "batch_size": 2,
    "discriminator": {"ndf": 4, "num_layers": 2},
    "ema": {"decay": 0.5},
    "log_every": 1,
    "checkpoint_seconds": 0.0,
}
RESNET = {"kind": "resnet", "ngf": 3, "blocks": 3, "dropout": 0.5}
TASKS = {
    "paired": {"generator": RESNET},
    "unpaired": {"generator": RESNET, "pool_size": 3},
    "semantic": {"generator": {"ngf": 1, "upsamplings": 3}},
}


def settings(task: str = "paired", **changes) -> TeacherSettings:
    return TeacherSettings(**(TINY | TASKS[task] | {"task": task} | changes))


def written(job) -> tuple:
    return tuple(load_file(job.out / f"{name}.safetensors") for name in ("model", "adversary"))


@pytest.fixture
def data_of(edges, strokes, label_maps):
    return {"paired": edges, "unpaired": strokes, "semantic": label_maps}


@pytest.mark.parametrize("task", TASKS)
def test_stopped_and_resumed_equals_uninterrupted(make_job, data_of, task):
    given = settings(task)
    whole, parts = make_job("whole"), make_job("parts", stop_after=3)
    teacher(given, whole, data=data_of[task])
    with pytest.raises(Stopped):
        teacher(given, parts, data=data_of[task])
    step, state = load_checkpoint(parts.state)
    assert step == 3
    if task == "unpaired":
        assert state["pool_targets"]["count"] == state["pool_inputs"]["count"] == 3
    parts = make_job("parts")
    teacher(given, parts, data=data_of[task])
    assert same(written(whole), written(parts))
    ends = [load_checkpoint(job.state)[1] for job in (whole, parts)]
    for end in ends:
        del end["seconds"]
    assert same(*ends)
    other = make_job("other", seed=1)
    teacher(given, other, data=data_of[task])
    assert not same(written(whole), written(other))


@pytest.mark.parametrize("task", TASKS)
def test_what_is_written_can_be_opened(make_job, data_of, task):
    job = make_job()
    teacher(settings(task, steps=1), job, data=data_of[task])
    pairs = load_pairs(data_of[task], "report")
    network = open_translator(job.out)
    images = network(pairs.batch_inputs(torch.arange(3)))
    assert images.shape == (3, 1, 16, 16)
    assert images.abs().max() <= 1
    channels = 1 if task == "unpaired" else 1 + pairs.input_channels
    judge = make_discriminator(settings(task).discriminator, channels)
    load_adversary(job.out, judge)
    if task == "unpaired":
        load_adversary(job.out, judge, name="back.discriminator")
        load_adversary(job.out, open_translator(job.out), name="back.generator")


def test_every_network_learns(make_job, data_of):
    for task, data in data_of.items():
        states = []
        for steps in (1, 2):
            job = make_job(f"{task}{steps}")
            teacher(settings(task, steps=steps, decay_start=1.0), job, data=data)
            states.append(written(job))
        for before, after in zip(*states, strict=True):
            # What stands before an InstanceNorm is shifted by a bias that it takes away.
            still = [n for n in before if n.endswith("weight") and torch.equal(before[n], after[n])]
            assert still == []


def test_without_averages_the_last_weights_are_saved(make_job, edges):
    job = make_job()
    teacher(settings(ema={"decay": 0.0}), job, data=edges)
    state = load_checkpoint(job.state)[1]["generator"]
    model = written(job)[0]
    assert model.keys() == state.keys()
    assert all(torch.equal(model[name], state[name]) for name in model)


def test_a_mobile_teacher_is_a_teacher_with_separable_parts(make_job, edges):
    mobile, plain = make_job("mobile"), make_job("plain")
    given = TINY | {"generator": {"ngf": 3, "blocks": 3}}
    mobile_teacher(MobileTeacherSettings(**given), mobile, data=edges)
    separable = {"ngf": 3, "blocks": 3, "separable": ("blocks",), "mobile": True}
    teacher(TeacherSettings(**(TINY | {"generator": separable})), plain, data=edges)
    assert same(written(mobile), written(plain))
    assert open_translator(mobile.out).shape.separable == ("blocks",)
    for part in ("down", "up"):
        job = make_job(part)
        one = {"ngf": 3, "blocks": 3, "separable": (part,)}
        mobile_teacher(MobileTeacherSettings(**(TINY | {"generator": one})), job, data=edges)
        assert open_translator(job.out).shape.separable == (part,)


def test_images_of_32_with_three_levels(make_job, pairs_of_size):
    data = pairs_of_size(32)
    job = make_job()
    given = settings(steps=1, discriminator={"ndf": 4, "num_layers": 3})
    teacher(given, job, data=data)
    assert open_translator(job.out)(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)


class Same(nn.Module):
    """x + 0."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.zero


class Negative(Same):
    def forward(self, x):
        return self.zero - x


def test_terms_of_the_cycles(strokes):
    pairs = load_pairs(strokes, "train")

    def run(generator, back, **changes):
        given = settings("unpaired", flip=False, batch_size=12, **changes)
        cycles = Cycles(given, generator, back, pairs, compute=CPU, seed=0)
        return cycles.update(0, torch.Generator())

    found = run(Same(), Same())
    assert (found["loss_cycle"], found["loss_identity"]) == (0, 0)
    found = run(Negative(), Negative())  # F(G(x)) = x, G(y) = -y
    x, y = pairs.batch_inputs(torch.arange(12)), pairs.batch_targets(torch.arange(12))
    assert found["loss_cycle"] == 0
    sizes = x.abs().mean() + y.abs().mean()
    torch.testing.assert_close(found["loss_identity"], 10 * 0.5 * 2 * sizes)
    found = run(Same(), Negative(), lambda_identity=0.0, lambda_cycle=3.0)
    assert "loss_identity" not in found
    torch.testing.assert_close(found["loss_cycle"], 3 * 2 * sizes)


def test_init_from_starts_from_a_finished_generator(make_job, edges):
    first = make_job("first")
    teacher(settings(), first, data=edges)
    again = make_job("again")
    teacher(settings(init_from=str(first.out), steps=1, optimizer={"lr": 1e-30}), again, data=edges)
    assert same(written(first)[0], written(again)[0])
    wider = settings(generator=RESNET | {"ngf": 4}, init_from=str(first.out))
    with pytest.raises(StageError, match=r"init_from: .*(size mismatch|Missing key)"):
        teacher(wider, make_job("x"), data=edges)
    with pytest.raises(StageError, match=r"init_from: .* does not exist"):
        teacher(settings(init_from=str(edges)), make_job("x"), data=edges)


def test_equal_seeds_begin_with_equal_weights(edges):
    pairs = load_pairs(edges, "train")
    a, b, c = (make_teacher(settings(), pairs, seed=seed) for seed in (0, 0, 1))
    key = "model.1.weight"
    assert torch.equal(a.state_dict()[key], b.state_dict()[key])
    assert not torch.equal(a.state_dict()[key], c.state_dict()[key])
    assert a.state_dict()[key].std() == pytest.approx(0.02, rel=0.2)


def test_bad_inputs_are_named(make_job, pairs_of_size, tmp_path, edges, strokes, label_maps):
    odd, tiny = pairs_of_size(18), pairs_of_size(8)
    job = make_job()
    with pytest.raises(StageError, match=r"18x18 pixels: .* must be multiples of 4"):
        teacher(settings(), job, data=odd)
    with pytest.raises(StageError, match="8x8 pixels: a PatchGAN of 2 layers needs at least 12"):
        teacher(settings(), job, data=tiny)
    with pytest.raises(StageError, match="task 'paired' needs aligned pairs"):
        teacher(settings(), job, data=strokes)
    with pytest.raises(StageError, match="needs aligned pairs of label maps and images"):
        teacher(settings("semantic"), job, data=edges)
    with pytest.raises(StageError, match="needs images on both sides, not label maps"):
        teacher(settings("unpaired"), job, data=label_maps)
    patch = settings("semantic", discriminator={"kind": "patch", "num_layers": 2})
    with pytest.raises(StageError, match="lambda_feature: a patch discriminator has no features"):
        teacher(patch, job, data=label_maps)
    deep = settings("semantic", generator={"ngf": 1, "upsamplings": 5})
    with pytest.raises(StageError, match="multiples of 32"):
        teacher(deep, job, data=label_maps)
    with pytest.raises(StageError, match=r"vgg_path: VGG19 weights .* do not exist"):
        teacher(settings(vgg_path=str(tmp_path / "none")), job, data=edges)
