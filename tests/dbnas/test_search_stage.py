"""dbnas.search: enumeration is exact, budgets are kept, redundancy is found."""

import csv
import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from slimgen.config.dbnas import SearchSettings, SupernetSettings
from slimgen.data.dataset import load_split, to_uint8
from slimgen.diffusion.saved import load_network
from slimgen.diffusion.schedule import Schedule
from slimgen.distillation.block_loss import block_loss
from slimgen.distillation.taps import teacher_features
from slimgen.networks.conv_costs import conv_shapes
from slimgen.networks.kernel_supernet import KernelSupernet
from slimgen.search import exhaustive
from slimgen.search.exhaustive import cheapest_within
from slimgen.search.space import SearchSpace, arch_cost, block_cost
from slimgen.systems.dbnas import choose
from slimgen.systems.dbnas import search as search_module
from slimgen.systems.dbnas.artefacts import load_supernet, read_arch, save_supernet
from slimgen.systems.dbnas.choose import make_problem
from slimgen.systems.dbnas.scores import draw_images, make_scorer
from slimgen.systems.dbnas.search import search
from slimgen.systems.dbnas.supernet import supernet
from slimgen.training.job import StageError


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Return the folder of a supernet trained for a moment."""
    from slimgen.training.job import Job

    folder = tmp_path_factory.mktemp("trained")
    (folder / "state").mkdir()
    job = Job(stage="dbnas.supernet", out=folder / "out", state=folder / "state", seed=0)
    settings = SupernetSettings(steps=25, batch_size=8, optimizer={"lr": 1e-2, "clip_norm": 1.0})
    supernet(settings, job, teacher=tiny.teacher, data=tiny.data)
    return job.out


def run(tiny, trained, job, like=None, **changes):
    named = {"like": "S2"} if changes.get("method") == "random" else {}
    settings = SearchSettings(**({"num_images": 12, "repeats": 2} | named | changes))
    search(settings, job, supernet=trained, teacher=tiny.teacher, data=tiny.data, like=like)
    rows = list(csv.DictReader((job.out / "candidates.csv").open()))
    return json.loads((job.out / "arch.json").read_text()), rows


def test_prefix_tree_equals_the_naive_loop_on_the_network(tiny, trained):
    net, teacher = load_supernet(trained), load_network(tiny.teacher)
    settings = SearchSettings(num_images=6, repeats=2)
    schedule = tiny.process.schedule
    images = load_split(tiny.data, "search")
    noised = draw_images(settings, images, schedule, seed=0, device="cpu")
    features = teacher_features(teacher, noised.x_t, noised.t)
    for name in ("down_blocks.0", "up_blocks.1"):
        tree = make_scorer(net, teacher, name, noised, 5)  # batches of 5, 5 and 2
        tree.score_every()
        assert len(tree.losses) == 3 ** net.positions[name]
        for choices in itertools.product((1, 3, 5), repeat=net.positions[name]):
            with torch.no_grad():  # the naive loop, all images at once
                outputs = net.run_block(name, features.inputs[name], choices)
                naive = float(block_loss(outputs, features.outputs[name]))
            assert tree.losses[choices] == pytest.approx(naive, rel=1e-6)
        one = make_scorer(net, teacher, name, noised, 5)
        some = (5,) * net.positions[name]
        assert one.loss(some) == pytest.approx(tree.losses[some], rel=1e-6)


def test_the_search_batch_is_some_images_of_the_split_each_at_several_noise_levels(tiny):
    """Without noise (abar near 1) the images themselves are seen."""
    clear = Schedule(1 - torch.linspace(1e-10, 2e-10, 1000, dtype=torch.float64))
    images = load_split(tiny.data, "search")
    settings = SearchSettings(num_images=5, repeats=3)

    def draw(seed):
        noised = draw_images(settings, images, clear, seed=seed, device="cpu")
        seen = [images.images.eq(to_uint8(x)).flatten(1).all(1).nonzero() for x in noised.x_t]
        return [int(which) for which in seen], noised.t

    chosen, t = draw(0)
    assert chosen[:5] == chosen[5:10] == chosen[10:]
    assert len(set(chosen)) == 5
    assert torch.equal(t[:7] + t[8:], torch.full((7,), 999))  # pairs, the 15th draw is cut
    again, t_again = draw(0)
    assert again == chosen
    assert torch.equal(t, t_again)
    others = [draw(seed) for seed in (1, 2)]
    assert all(other != chosen for other, _ in others)
    assert not any(torch.equal(t, other) for _, other in others)


def test_nothing_but_the_search_split_is_read(tiny, trained, make_job):
    job, settings = make_job("alone"), SearchSettings(num_images=12, r=1.5)
    search(settings, job, supernet=trained, teacher=tiny.teacher, data=tiny.only("search"))
    assert (job.out / "arch.json").exists()


def test_budgets_are_nested_and_everything_is_written(tiny, trained, make_job):
    s1, rows = run(tiny, trained, make_job("S1"), r=1.5)
    s2, rows2 = run(tiny, trained, make_job("S2"), r=1.1)
    assert s1["searchable_params"] <= s2["searchable_params"] <= s2["base_searchable_params"]
    assert [(r["block"], r["arch"], r["loss"]) for r in rows] == [
        (r["block"], r["arch"], r["loss"]) for r in rows2
    ]  # one seed, one set of scores
    assert len(rows) == 9 + 9 + 81 + 81 + 81 == sum(s1["candidates"].values())
    for block, kernels in s1["kernels"].items():
        mine = [row for row in rows if row["block"] == block]
        chosen = [row for row in mine if row["chosen"] == "1"]
        base = [row for row in mine if row["base"] == "1"]
        assert [row["arch"] for row in chosen] == ["-".join(map(str, kernels))]
        assert [set(row["arch"].split("-")) for row in base] == [{"3"}]
        assert float(chosen[0]["loss"]) <= 1.5 * float(base[0]["loss"])
        assert float(chosen[0]["relative_loss"]) == pytest.approx(
            float(chosen[0]["loss"]) / float(base[0]["loss"])
        )
        cheaper = [row for row in mine if int(row["params"]) < int(chosen[0]["params"])]
        assert all(float(row["loss"]) > 1.5 * float(base[0]["loss"]) for row in cheaper)
    for flag, prefix in (("chosen", "searchable"), ("base", "base_searchable")):
        for cost in ("params", "macs"):
            total = sum(int(row[cost]) for row in rows if row[flag] == "1")
            assert s1[f"{prefix}_{cost}"] == total
    relative = s1["searchable_params"] / s1["base_searchable_params"]
    assert s1["relative_cost"] == pytest.approx(relative)
    changed = sum(k != 3 for kernels in s1["kernels"].values() for k in kernels)
    assert (s1["changed_convs"], s1["convs"]) == (changed, 16)
    network = load_network(tiny.teacher)
    saved = s1["base_searchable_params"] - s1["searchable_params"]
    assert sum(p.numel() for p in network.parameters()) - s1["params"] == saved


def test_planted_redundant_conv_is_found(tiny, make_job, tmp_path):
    """Size 1 equals size 3 at one conv of the middle block and is far off at every other."""
    torch.manual_seed(0)
    teacher = load_network(tiny.teacher)
    net = KernelSupernet(UNet2DModel.from_config(teacher.config), (1, 3, 5))
    weights = {}
    for name, value in teacher.state_dict().items():
        where, _, tensor = name.rpartition(".")
        inside = where.endswith((".conv1", ".conv2"))
        weights[f"{where}.convs.3.{tensor}" if inside else name] = value
    net.unet.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for name, parameter in net.unet.named_parameters():
            if ".norm1." in name:  # so that the base path has a loss
                parameter.add_(0.02 * torch.randn(parameter.shape))
        planted = net.unet.mid_block.resnets[1].conv1.convs
        centre = planted["3"].weight[:, :, 1:2, 1:2].clone()
        planted["3"].weight.zero_()[:, :, 1:2, 1:2] = centre
        planted["1"].weight.copy_(centre)
        planted["1"].bias.copy_(planted["3"].bias)
    save_supernet(tmp_path, net)
    record, _ = run(tiny, tmp_path, make_job("planted"), r=1.02)
    kernels = record["kernels"]
    assert kernels.pop("mid_block") == [3, 3, 1, 3]
    assert {k for choices in kernels.values() for k in choices} == {3}
    assert (record["changed_convs"], record["is_base"]) == (1, False)


def test_a_search_that_returns_the_base_says_so(tiny, make_job, tmp_path, capsys):
    net = KernelSupernet(UNet2DModel.from_config(load_network(tiny.teacher).config), (3, 5))
    save_supernet(tmp_path, net)  # size 5 only costs more
    record, _ = run(tiny, tmp_path, make_job("base"), r=1.0)
    assert record["is_base"]
    assert record["relative_cost"] == 1.0
    assert "the result is the base" in capsys.readouterr().err


def test_global_search_keeps_the_sum_of_losses(tiny, trained, make_job):
    settings = {"method": "global", "r": 1.2, "population": 20, "generations": 10}
    record, rows = run(tiny, trained, make_job("global"), **settings)
    assert sum(record["losses"].values()) <= 1.2 * sum(record["base_losses"].values())
    assert record["searchable_params"] <= record["base_searchable_params"]
    assert sum(int(row["chosen"]) for row in rows) == 5
    again, _ = run(tiny, trained, make_job("again"), **settings)
    assert again["kernels"] == record["kernels"]


@pytest.mark.parametrize("r", [1.0, 1.1, 1.3, 2.0])
def test_global_search_minds_the_sum_alone(r):
    """Against enumeration: block b may lose everything, as its losses hardly count in the sum."""
    space = SearchSpace((1, 3, 5), (("a", 2), ("b", 2)))
    costs = {name: [{(1,): 1, (3,): 9, (5,): 25}] * 2 for name in "ab"}
    problem = choose.Problem(space, costs, costs, "params")
    scale = {"a": 10.0, "b": 0.1}

    def loss(name, choices):
        return scale[name] * sum({1: 2.0, 3: 1.0, 5: 0.95}[kernel] for kernel in choices)

    scorers = {n: SimpleNamespace(loss=lambda c, n=n: loss(n, c)) for n in "ab"}
    found = choose.search_globally(problem, scorers, SearchSettings(method="global", r=r), 0)

    def total(arch):
        return sum(loss(name, choices) for name, choices in arch.items())

    every = [space.arch(vector) for vector in itertools.product((1, 3, 5), repeat=4)]
    kept = [arch for arch in every if total(arch) <= r * total(space.base)]
    best = min(kept, key=lambda arch: (arch_cost(costs, arch), total(arch)))
    assert found in kept
    assert arch_cost(costs, found) == arch_cost(costs, best)
    if r >= 1.1:
        assert found["b"] == (1, 1)  # twice its base loss: no block-wise search would allow it


def test_random_has_the_cost_of_its_model(tiny, trained, make_job):
    job = make_job("S2")
    model, _ = run(tiny, trained, job, r=1.3)
    for seed, cost in itertools.product((0, 1), ("params", "macs")):
        like = job.out / "arch.json"
        drawn, rows = run(
            tiny,
            trained,
            make_job(f"random {seed} {cost}", seed=seed),
            like=like,
            method="random",
            cost=cost,
            tolerance=0.05,
        )
        wanted = model[f"searchable_{cost}"]
        assert abs(drawn[f"searchable_{cost}"] / wanted - 1) <= 0.05
        assert drawn["kernels"] != model["kernels"]
        assert drawn["r"] is None
        assert sum(int(row["chosen"]) for row in rows) == 5
        assert read_arch(like.parent) == read_arch(like)


def test_random_is_never_its_model_nor_the_base():
    space = SearchSpace((1, 3), (("a", 2),))
    costs = {"a": [{(1,): 1, (3,): 9}] * 2}
    problem = choose.Problem(space, costs, costs, "params")
    like = space.arch((1, 3))  # all four architectures are within the tolerance
    drawn = {choose.draw_like(problem, like, 1.0, seed).vector for seed in range(40)}
    assert drawn == {(1, 1), (3, 1)}
    few = space.arch((3, 3))  # only the base costs that much, and it is the model
    with pytest.raises(StageError, match="no other architecture"):
        choose.draw_like(problem, few, 0.01, 0)


def test_random_says_where_nothing_else_has_that_cost(tiny, make_job, tmp_path):
    net = KernelSupernet(UNet2DModel.from_config(load_network(tiny.teacher).config), (3, 11))
    save_supernet(tmp_path, net)
    job = make_job("base")
    run(tiny, tmp_path, job, r=1.0)
    with pytest.raises(StageError, match=r"no other architecture costs within 0\.0%"):
        run(tiny, tmp_path, make_job("r"), like=job.out, method="random", tolerance=0.0)


def test_params_and_macs_agree_within_a_block_of_one_resolution(tiny, trained):
    """And not where a resampling ResBlock makes the convs of a block differ in resolution."""
    net, teacher = load_supernet(trained), load_network(tiny.teacher)
    problem = make_problem(net, teacher, "params")
    torch.manual_seed(0)

    def results(problem, name, count):
        losses = {c: float(torch.rand(())) for c in itertools.product((1, 3, 5), repeat=count)}
        limits = torch.linspace(0.02, 1, 30).tolist()
        return [
            tuple(
                cheapest_within(losses, lambda c, costs=costs: block_cost(costs, name, c), limit)
                for costs in (problem.params, problem.macs)
            )
            for limit in limits
            if limit >= min(losses.values())
        ]

    for name, count in problem.space.positions:
        assert all(a == b for a, b in results(problem, name, count))
    mixed = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        add_attention=False,
    )
    sizes = [(s.height, s.width) for s in conv_shapes(mixed)["down_blocks.0"]]
    assert sizes == [(8, 8), (8, 8), (4, 4), (4, 4)]
    other = make_problem(KernelSupernet(mixed, (1, 3, 5)), mixed_again(mixed), "params")
    assert any(a != b for a, b in results(other, "down_blocks.0", 4))


def mixed_again(unet):
    return UNet2DModel.from_config(unet.config)


def test_too_many_candidates_are_evolved(tiny, trained, make_job, monkeypatch):
    """With the cap at 20, blocks of 81 candidates evolve; those of 9 are still enumerated."""
    monkeypatch.setattr(choose, "MAX_CANDIDATES", 20)
    assert exhaustive.MAX_CANDIDATES == 50_000
    settings = {"r": 1.5, "population": 10, "generations": 4, "parents": 5}
    record, _ = run(tiny, trained, make_job("evolved"), **settings)
    assert record["candidates"]["down_blocks.0"] == 9
    assert 1 < record["candidates"]["mid_block"] <= 81
    for name, loss in record["losses"].items():
        assert loss <= 1.5 * record["base_losses"][name]
    full, _ = run(tiny, trained, make_job("whole"), r=1.5)
    assert full["searchable_params"] <= record["searchable_params"]


def test_stopped_search_goes_on_with_the_blocks_that_are_left(tiny, trained, make_job, monkeypatch):
    from slimgen.training.job import Stopped

    whole, _ = run(tiny, trained, make_job("whole"), r=1.5)
    job = make_job("stopped")
    scored = []
    real = search_module.make_scorer

    def make(net, teacher, name, *rest):
        scored.append(name)
        if name == "mid_block":
            job.signal_name = "SIGTERM"
        return real(net, teacher, name, *rest)

    monkeypatch.setattr(search_module, "make_scorer", make)
    with pytest.raises(Stopped):
        run(tiny, trained, job, r=1.5)
    assert scored == ["down_blocks.0", "down_blocks.1", "mid_block"]
    monkeypatch.setattr(search_module, "make_scorer", real)
    assert len(list(job.state.glob("losses.*.json"))) == 3
    resumed, _ = run(tiny, trained, make_job("stopped"), r=1.5)
    assert resumed == whole


def test_bad_inputs_are_named(tiny, trained, make_job, tmp_path):
    with pytest.raises(StageError, match="num_images = 256: the search split has 12 images"):
        run(tiny, trained, make_job("a"), num_images=256)
    with pytest.raises(StageError, match="--like goes with method random"):
        run(tiny, trained, make_job("b"), like=tmp_path)
    with pytest.raises(StageError, match=r"config.json does not exist"):
        run(tiny, tmp_path, make_job("c"))
    (tmp_path / "arch.json").write_text("{}")
    with pytest.raises(StageError, match="it holds no architecture"):
        run(tiny, trained, make_job("d"), like=tmp_path, method="random")
