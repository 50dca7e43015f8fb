"""dbnas.supernet: both orders give the same bits, a resumed run too, and only blocks train."""

import itertools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slimgen.config.dbnas import SupernetSettings
from slimgen.diffusion.saved import load_network
from slimgen.distillation.taps import teacher_features
from slimgen.networks.unet_blocks import BlockInputs, named_blocks
from slimgen.systems.dbnas.artefacts import load_supernet, space_of
from slimgen.systems.dbnas.supernet import draw_path, new_supernet, supernet
from slimgen.training.job import StageError, Stopped
from slimgen.training.seeding import batch_indices, make_rng

STEPS = 4
BASE = {
    "steps": STEPS,
    "batch_size": 4,
    "log_every": 2,
    "optimizer": {"lr": 1e-2, "clip_norm": 0.5, "warmup": 2, "decay": "cosine"},
}


def run(tiny, job, **changes):
    supernet(SupernetSettings(**(BASE | changes)), job, teacher=tiny.teacher, data=tiny.data)
    return load_file(job.out / "supernet.safetensors")


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_together_equals_one_after_another_bit_for_bit(tiny, make_job, ema):
    """Dropout is on, norms are clipped, rates change: all of it is private to the block."""
    together = run(tiny, make_job("together"), ema={"decay": ema})
    apart = run(tiny, make_job("apart"), order="sequential", ema={"decay": ema})
    assert same(together, apart)
    assert not same(together, run(tiny, make_job("other", seed=4), ema={"decay": ema}))


@pytest.mark.parametrize(
    ("changes", "step"),
    [({}, 1), ({"ema": {"decay": 0.9}}, 2), ({"preset": "code", "order": "sequential"}, 7)],
)
def test_resumed_equals_uninterrupted(tiny, make_job, stop_at, changes, step):
    """Step 7 of `code` is the last one of a block: the next hands the time embedding on."""
    whole = run(tiny, make_job("whole"), **changes)
    job = make_job("halves")
    stop_at(job, step)
    with pytest.raises(Stopped):
        run(tiny, job, **changes)
    assert not (job.out / "supernet.safetensors").exists()
    assert same(whole, run(tiny, make_job("halves"), **changes))
    assert f'"step": {step + 1}, "event": "resumed"' in (job.state / "log.jsonl").read_text()


def test_the_scales_of_fp16_survive_a_restart(tiny, make_job, stop_at, fp16_scales):
    half, job = {"runtime": {"precision": "fp16"}}, make_job("halves")
    stop_at(job, 1)
    with pytest.raises(Stopped):
        run(tiny, job, **half)
    run(tiny, make_job("halves"), **half)
    assert fp16_scales() == [2.0**2] * 5 + [2.0**STEPS] * 5  # one of each block


def test_only_blocks_train_and_only_on_the_path(tiny, make_job):
    job = make_job("frozen")
    trained = run(tiny, job, steps=1)
    settings, teacher = SupernetSettings(**(BASE | {"steps": 1})), load_network(tiny.teacher)
    net = new_supernet(settings, make_job("fresh"), teacher)
    first = net.state_dict()
    changed = {name for name in first if not torch.equal(first[name], trained[name])}
    outside = ("unet.conv_in", "unet.time_embedding", "unet.conv_norm_out", "unet.conv_out")
    assert not [name for name in changed if name.startswith(outside)]
    for name in outside:
        part = name.removeprefix("unet.")
        for key, value in teacher.get_submodule(part).state_dict().items():
            assert torch.equal(trained[f"{name}.{key}"], value)
    for block, module in named_blocks(net.unet).items():
        path = draw_path(net, block, seed=job.seed, step=0)
        convs = [n for n, m in module.named_modules() if hasattr(m, "convs")]
        expected = {
            f"unet.{block}.{conv}.convs.{kernel}.weight"
            for conv, kernel in zip(convs, path, strict=True)
        }
        found = {n for n in changed if n.startswith(f"unet.{block}.") and n.endswith("weight")}
        assert {n for n in found if ".convs." in n} == expected


@pytest.mark.parametrize("flip", [False, True])
def test_the_first_step_is_the_block_loss_on_noised_train_images(
    tiny, plain_teacher, make_job, flip
):
    """Worked out again: same start, path, images, timesteps and noise, nothing else read."""
    job, n = make_job("first", seed=11), 8
    settings = SupernetSettings(**(BASE | {"batch_size": n, "flip": flip, "log_every": 1}))
    supernet(settings, job, teacher=plain_teacher, data=tiny.only("train"))
    teacher, rng = load_network(plain_teacher), make_rng(11, 0, "batch")
    with np.load(tiny.data / "train.npz") as file:
        images = torch.from_numpy(file["images"])
    x0 = images[batch_indices(len(images), n, 0, 11)].float() / 127.5 - 1
    if flip:
        mirrored = torch.rand(n, generator=rng) < 0.5
        assert mirrored.any()
        x0[mirrored] = x0[mirrored].flip(3)
    half = torch.randint(1000, (n // 2,), generator=rng)
    t = torch.cat([half, 999 - half])
    eps = torch.randn(x0.shape, generator=rng)
    abar = tiny.process.schedule.alphas_cumprod[t].float()[:, None, None, None]
    features = teacher_features(teacher, abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t)
    net = new_supernet(settings, make_job("again", seed=11), teacher)
    line = json.loads((job.state / "log.jsonl").read_text().splitlines()[0])
    for name in net.positions:
        path = draw_path(net, name, seed=11, step=0)
        with torch.no_grad():
            outputs = net.run_block(name, features.inputs[name], path)
        expected = sum(
            float((y - target).square().mean())
            for y, target in zip(outputs, features.outputs[name], strict=True)
        )
        assert line[f"loss/{name}"] == pytest.approx(expected, rel=1e-4)


def test_the_averaged_weights_are_saved(tiny, make_job):
    """An average that hardly moves stays at the start; without one the trained weights are kept."""
    teacher = load_network(tiny.teacher)
    start = new_supernet(SupernetSettings(**BASE), make_job("start"), teacher).state_dict()
    slow = run(tiny, make_job("slow"), ema={"decay": 1 - 1e-9})
    assert all(torch.allclose(slow[name], start[name], atol=1e-6) for name in start)
    trained = run(tiny, make_job("trained"))
    moved = trained["unet.mid_block.resnets.0.norm1.weight"]
    assert not torch.allclose(moved, start["unet.mid_block.resnets.0.norm1.weight"], atol=1e-4)


def test_paths_are_uniform_and_private(tiny, make_job):
    net = new_supernet(SupernetSettings(**BASE), make_job("paths"), load_network(tiny.teacher))
    paths = [draw_path(net, "up_blocks.0", seed=0, step=step) for step in range(900)]
    assert len(set(paths)) == 81
    for position in range(4):
        for kernel in (1, 3, 5):
            assert 240 < sum(path[position] == kernel for path in paths) < 360
    other = [draw_path(net, "up_blocks.1", seed=0, step=step) for step in range(900)]
    assert sum(a == b for a, b in zip(paths, other, strict=True)) < 40  # 11 by chance


def test_start_from_the_teacher_leaves_the_choices_random(tiny, make_job):
    settings = SupernetSettings(**(BASE | {"init": "teacher"}))
    teacher = load_network(tiny.teacher)
    state = new_supernet(settings, make_job("init"), teacher).unet.state_dict()
    theirs = teacher.state_dict()
    assert all(torch.equal(state[name], theirs[name]) for name in theirs if name in state)
    choices = [name for name in theirs if name not in state]
    assert choices
    assert all(name.rsplit(".", 2)[1] in ("conv1", "conv2") for name in choices)
    three = state["mid_block.resnets.0.conv1.convs.3.weight"]
    assert not torch.equal(three, theirs["mid_block.resnets.0.conv1.weight"])


def test_preset_code_trains_a_time_embedding_per_block(tiny, make_job):
    job = make_job("code")
    state = run(tiny, job, preset="code", order="sequential")
    net = load_supernet(job.out)
    keys = [name.replace(".", "_") for name in net.positions]
    weights = [state[f"time_embeddings.{key}.linear_1.weight"] for key in keys]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(weights))
    assert torch.equal(weights[-1], state["unet.time_embedding.linear_1.weight"])
    inputs = BlockInputs(torch.zeros(2, 8, 8, 8), torch.zeros(2, 32))
    own = net.inputs("mid_block", inputs, torch.tensor([3, 4]))
    assert not torch.equal(own.temb, inputs.temb)


def test_preset_code_hands_the_time_embedding_on(tiny, make_job):
    """Adam's first step moves each weight by the rate: by that much a block differs from the last.

    Embeddings that all started at one place would differ by nothing or twice the rate.
    """
    changes = {"preset": "code", "order": "sequential", "steps": 1, "optimizer": {"lr": 1e-3}}
    state = run(tiny, make_job("code"), **changes)
    keys = [key for key in state if key.endswith("linear_2.weight") and "time_embeddings" in key]
    order = ("down_blocks_0", "down_blocks_1", "mid_block", "up_blocks_0", "up_blocks_1")
    weights = [next(state[key] for key in keys if f".{name}." in key) for name in order]
    for before, after in itertools.pairwise(weights):
        assert float((after - before).abs().median()) == pytest.approx(1e-3, rel=0.05)


def test_training_lowers_the_loss(tiny, make_job):
    job = make_job("learns")
    run(tiny, job, steps=60, batch_size=16, log_every=10, optimizer={"lr": 1e-2, "clip_norm": 1.0})
    lines = [json.loads(line) for line in (job.state / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    for line in lines:
        blocks = [value for name, value in line.items() if name.startswith("loss/")]
        assert len(blocks) == 5
        assert line["loss"] == pytest.approx(sum(blocks), rel=1e-5)


def test_saved_supernet_says_what_it_is(tiny, make_job):
    job = make_job("kernels")
    run(tiny, job, kernels=(3, 7), steps=1)
    space = space_of(load_supernet(job.out))
    assert space.kernels == (3, 7)
    assert dict(space.positions)["mid_block"] == 4
    (job.out / "supernet.safetensors").write_bytes(b"short")
    with pytest.raises(StageError, match="cannot be read"):
        load_supernet(job.out)


def test_bad_inputs_are_named(tiny, make_job, tmp_path):
    with pytest.raises(StageError, match="nowhere"):
        supernet(
            SupernetSettings(**BASE), make_job("a"), teacher=tmp_path / "nowhere", data=tiny.data
        )
    with pytest.raises(StageError, match="init_from"):
        run(tiny, make_job("b"), init_from=str(make_other(tiny, make_job)))


def make_other(tiny, make_job):
    job = make_job("other kernels")
    run(tiny, job, kernels=(3,), steps=1)
    return job.out
