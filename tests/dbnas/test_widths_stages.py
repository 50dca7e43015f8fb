"""Supernet, search and student with inner widths: uniform paths, exact resume, exact search."""

import csv
import itertools
import json
import math
from collections import Counter

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from safetensors.torch import load_file

from slimgen.config.dbnas import SearchSettings, StudentSettings, SupernetSettings
from slimgen.data.dataset import load_split
from slimgen.diffusion.saved import load_model, load_network
from slimgen.distillation.block_loss import block_loss
from slimgen.distillation.taps import teacher_features
from slimgen.networks.kernel_supernet import KernelSupernet, extract
from slimgen.search.space import Arch
from slimgen.systems.dbnas import choose
from slimgen.systems.dbnas.artefacts import load_supernet, read_arch, save_supernet, space_of
from slimgen.systems.dbnas.scores import draw_images, make_scorer
from slimgen.systems.dbnas.search import search
from slimgen.systems.dbnas.student import student
from slimgen.systems.dbnas.supernet import draw_path, new_supernet, supernet
from slimgen.training.job import Job, StageError, Stopped

BASE = {
    "steps": 4,
    "batch_size": 4,
    "log_every": 2,
    "widths": (1.0, 0.5),
    "optimizer": {"lr": 1e-2, "clip_norm": 0.5},
}


def train(tiny, job, **changes):
    supernet(SupernetSettings(**(BASE | changes)), job, teacher=tiny.teacher, data=tiny.data)
    return load_file(job.out / "supernet.safetensors")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Return the folder of a supernet with widths, trained for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "state").mkdir()
    job = Job(stage="dbnas.supernet", out=folder / "out", state=folder / "state", seed=0)
    train(tiny, job, steps=20, batch_size=8)
    return job.out


def run(tiny, trained, job, like=None, **changes):
    named = {"like": "S2"} if changes.get("method") == "random" else {}
    settings = SearchSettings(**({"num_images": 12, "repeats": 1} | named | changes))
    search(settings, job, supernet=trained, teacher=tiny.teacher, data=tiny.data, like=like)
    rows = list(csv.DictReader((job.out / "candidates.csv").open()))
    return json.loads((job.out / "arch.json").read_text()), rows


def test_resumed_equals_uninterrupted(tiny, make_job, stop_at):
    whole = train(tiny, make_job("whole"))
    job = make_job("halves")
    stop_at(job, 1)
    with pytest.raises(Stopped):
        train(tiny, job)
    resumed = train(tiny, make_job("halves"))
    assert '"step": 2, "event": "resumed"' in (job.state / "log.jsonl").read_text()
    assert list(whole) == list(resumed)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_paths_are_uniform_in_kernels_and_widths(tiny, make_job):
    settings = SupernetSettings(**(BASE | {"widths": (1.0, 0.75, 0.5)}))
    net = new_supernet(settings, make_job("paths"), load_network(tiny.teacher))
    draws = 2700
    paths = [draw_path(net, "up_blocks.0", seed=0, step=step) for step in range(draws)]
    options = space_of(net).options("up_blocks.0")
    assert options == ((16, 12, 8), (1, 3, 5), (1, 3, 5)) * 2
    for first in (0, 3):  # every ResBlock: its 27 choices, and each width with the other's
        seen = Counter(path[first : first + 3] for path in paths)
        assert set(seen) == set(itertools.product(*options[first : first + 3]))
        expected = draws / 27
        chi2 = sum((n - expected) ** 2 / expected for n in seen.values())
        assert chi2 < 26 + 4 * math.sqrt(2 * 26)
    pairs = Counter((path[0], path[3]) for path in paths)
    assert len(pairs) == 9
    assert all(abs(n - draws / 9) < 4 * math.sqrt(draws / 9) for n in pairs.values())


def test_kernels_are_drawn_as_without_widths(tiny, make_job):
    """So a space of kernels alone has the paths that it always had; these are pinned."""
    teacher, nets = load_network(tiny.teacher), []
    for widths in ((1.0,), (1.0, 0.5)):
        settings = SupernetSettings(**(BASE | {"widths": widths}))
        nets.append(new_supernet(settings, make_job("draws"), teacher))
    alone, both = (
        [draw_path(net, "mid_block", seed=7, step=step) for step in range(6)] for net in nets
    )
    assert [Arch((("b", path),), with_widths=True).kernels["b"] for path in both] == alone
    assert alone[:3] == [(3, 5, 5, 5), (3, 1, 3, 5), (5, 5, 3, 5)]


def test_a_saved_supernet_says_its_widths(tiny, trained, tmp_path):
    net = load_supernet(trained)
    assert dict(space_of(net).widths)["mid_block"] == ((16, 8), (16, 8))
    plain = KernelSupernet(UNet2DModel.from_config(load_network(tiny.teacher).config), (1, 3))
    save_supernet(tmp_path, plain)
    assert "widths" not in json.loads((tmp_path / "config.json").read_text())
    assert space_of(load_supernet(tmp_path)).widths == ()


def test_a_width_that_tears_a_group_is_one_line(tiny, make_job):
    with pytest.raises(
        StageError, match=r"^dbnas\.supernet\.widths = \[1\.0, 0\.3\]: 0\.3 of 4 gr"
    ):
        train(tiny, make_job("torn"), widths=(1.0, 0.3))


def test_prefix_tree_equals_the_naive_loop(tiny, trained):
    net, teacher = load_supernet(trained), load_network(tiny.teacher)
    settings, images = SearchSettings(num_images=6), load_split(tiny.data, "search")
    noised = draw_images(settings, images, tiny.process.schedule, seed=0, device="cpu")
    features = teacher_features(teacher, noised.x_t, noised.t)
    name = "mid_block"
    tree = make_scorer(net, teacher, name, noised, 4)  # batches of 4 and 2
    tree.score_every()
    every = list(itertools.product(*space_of(net).options(name)))
    assert list(tree.losses) == every
    assert len(every) == 18**2
    for choices in every[::7]:
        with torch.no_grad():
            outputs = net.run_block(name, features.inputs[name], choices)
            naive = float(block_loss(outputs, features.outputs[name]))
        assert tree.losses[choices] == pytest.approx(naive, rel=1e-6)


def test_the_search_finds_the_cheapest_and_says_what_it_costs(tiny, trained, make_job):
    record, rows = run(tiny, trained, make_job("local"), r=1.5)
    assert len(rows) == 18 + 18 + 3 * 18**2 == sum(record["candidates"].values())
    for block, kernels in record["kernels"].items():
        mine = [row for row in rows if row["block"] == block]
        (chosen,) = (row for row in mine if row["chosen"] == "1")
        (base,) = (row for row in mine if row["base"] == "1")
        whole = ("-".join(map(str, v)) for v in (kernels, record["widths"][block]))
        assert chosen["arch"] == "/".join(whole)
        limit = 1.5 * float(base["loss"])
        assert float(chosen["loss"]) <= limit
        cheaper = [row for row in mine if int(row["params"]) < int(chosen["params"])]
        assert all(float(row["loss"]) > limit for row in cheaper)
    network = load_network(tiny.teacher)
    saved = record["base_searchable_params"] - record["searchable_params"]
    assert sum(p.numel() for p in network.parameters()) - record["params"] == saved
    changed = 0
    for block, kernels in record["kernels"].items():
        for at, kernel in enumerate(kernels):
            narrow = record["widths"][block][at // 2] != record["base_widths"][block][at // 2]
            changed += kernel != 3 or narrow
    assert (record["changed_convs"], record["convs"]) == (changed, 16)


def test_planted_redundant_channels_are_found(tiny, make_job, tmp_path):
    """The second half of one ResBlock's inner channels is read by nothing; all others are."""
    torch.manual_seed(0)
    teacher = load_network(tiny.teacher)
    net = KernelSupernet(UNet2DModel.from_config(teacher.config), (1, 3), fractions=(1.0, 0.5))
    weights = {}
    for name, value in teacher.state_dict().items():
        where, _, tensor = name.rpartition(".")
        inside = where.endswith((".conv1", ".conv2"))
        weights[f"{where}.convs.3.{tensor}" if inside else name] = value
    net.unet.load_state_dict(weights, strict=False)
    with torch.no_grad():
        net.unet.mid_block.resnets[1].conv2.convs["3"].weight[:, 8:] = 0
        for name, parameter in net.unet.named_parameters():
            if ".norm1." in name:  # so that the base path has a loss
                parameter.add_(0.02 * torch.randn(parameter.shape))
    save_supernet(tmp_path, net)
    record, _ = run(tiny, tmp_path, make_job("planted"), r=1.0)
    assert record["widths"].pop("mid_block") == [16, 8]
    assert all(widths == record["base_widths"][name] for name, widths in record["widths"].items())
    assert {kernel for kernels in record["kernels"].values() for kernel in kernels} == {3}
    assert record["changed_convs"] == 2


def test_global_and_random_search_in_the_same_space(tiny, trained, make_job):
    job = make_job("global")
    settings = {"method": "global", "r": 1.3, "population": 16, "generations": 6, "parents": 6}
    found, _ = run(tiny, trained, job, **settings)
    assert sum(found["losses"].values()) <= 1.3 * sum(found["base_losses"].values())
    drawn, _ = run(tiny, trained, make_job("r"), like=job.out, method="random", tolerance=0.05)
    assert abs(drawn["searchable_params"] / found["searchable_params"] - 1) <= 0.05
    assert read_arch(make_job("r").out).with_widths
    assert (drawn["kernels"], drawn["widths"]) != (found["kernels"], found["widths"])


def test_too_many_candidates_are_evolved(tiny, trained, make_job, monkeypatch):
    """With the cap at 20, blocks of 324 candidates evolve; those of 18 are still enumerated."""
    monkeypatch.setattr(choose, "MAX_CANDIDATES", 20)
    settings = {"r": 1.5, "population": 10, "generations": 4, "parents": 5}
    record, _ = run(tiny, trained, make_job("evolved"), **settings)
    assert record["candidates"]["down_blocks.0"] == 18
    assert 1 < record["candidates"]["mid_block"] < 324
    for name, loss in record["losses"].items():
        assert loss <= 1.5 * record["base_losses"][name]


def test_a_like_of_another_space_is_named(tiny, trained, make_job, tmp_path):
    kernels = {name: [3] * count for name, count in load_supernet(trained).positions.items()}
    (tmp_path / "arch.json").write_text(json.dumps({"kernels": kernels}))
    with pytest.raises(StageError, match="it chooses kernel sizes alone, the space inner widths"):
        run(tiny, trained, make_job("r"), like=tmp_path, method="random")


@pytest.mark.parametrize("init", ["supernet", "random"])
def test_a_student_starts_as_the_found_network(tiny, trained, make_job, tmp_path, init):
    """With a learning rate near zero, the student stays where it starts."""
    space = space_of(load_supernet(trained))
    arch = space.arch([options[-1] for n, _ in space.positions for options in space.options(n)])
    record = {"kernels": arch.kernels, "widths": arch.widths}
    (tmp_path / "arch.json").write_text(json.dumps(record))
    settings = StudentSettings(
        steps=2, batch_size=4, init=init, optimizer={"lr": 1e-30, "clip_norm": None}
    )
    job = make_job("student")
    student(settings, job, teacher=tiny.teacher, data=tiny.data, arch=tmp_path, supernet=trained)
    network = load_model(job.out).network
    assert network.config.widths == {name: list(c) for name, c in arch.widths.items()}
    expected = extract(load_supernet(trained), arch).state_dict()
    got = network.state_dict()
    assert {n: v.shape for n, v in got.items()} == {n: v.shape for n, v in expected.items()}
    same = all(torch.allclose(got[name], expected[name], atol=1e-7) for name in expected)
    assert same == (init == "supernet")
