"""autogan.search: exact resume, growth and beams, reset, ablations, three cells, clear errors."""

import csv
import json

import pytest
import torch
from stopping import same

from slimgen.config.autogan import SearchSettings
from slimgen.data.dataset import load_split
from slimgen.networks.autogan_generator import AutoGanGenerator, extract
from slimgen.systems.autogan import search as stage
from slimgen.systems.autogan.reinforce import Agent
from slimgen.systems.autogan.reward import Judge, load_reward_classifier, recalibrate
from slimgen.systems.autogan.shared import SharedGan
from slimgen.systems.autogan.space import PUBLISHED, Space, read_archs
from slimgen.training.checkpoint import load_checkpoint
from slimgen.training.job import StageError, Stopped
from slimgen.training.precision import resolve
from slimgen.training.seeding import make_rng

# Two iterations a stage of 2 GAN and 2 controller steps: 16 steps in all.
TINY = {
    "cells": 2,
    "bottom_width": 2,
    "steps": 4,
    "u_stage": 2,
    "gan_steps": 2,
    "controller_steps": 2,
    "controller_batch": 2,
    "n_critic": 2,
    "batch_size": 6,
    "generator_batch": 4,
    "z_dim": 5,
    "generator_width": 4,
    "discriminator_width": 4,
    "hidden": 6,
    "candidates": 4,
    "beams": 2,
    "reward_images": 12,
    "reward_batch": 8,
    "is_splits": 1,
    "calibration_batches": 1,
    "log_every": 1,
    "checkpoint_seconds": 0.0,
    "controller_optimizer": {"lr": 0.05},
}


def settings(**changes):
    return SearchSettings(**(TINY | changes))


def state(job):
    found = load_checkpoint(job.state)
    return {key: value for key, value in found[1].items() if key != "seconds"}


def rows(job):
    with (job.out / "candidates.csv").open() as file:
        return list(csv.DictReader(file))


def lines(job):
    return [json.loads(line) for line in (job.state / "log.jsonl").read_text().splitlines()]


def arch_json(job):
    return json.loads((job.out / "arch.json").read_text())


# A huge threshold: the GAN collapses as soon as the window is full, in every second iteration.
RESETS = {"reset": {"window": 3, "threshold": 1e6}}


@pytest.mark.parametrize(
    ("changes", "stops"),
    [({}, (3, 11)), (RESETS, (3,)), ({"method": "random"}, (7,))],
    ids=["reinforce", "resets", "random"],
)
def test_stopped_and_resumed_equals_uninterrupted(make_job, data, classifier, changes, stops):
    given, inputs = settings(**changes), {"data": data, "reward_classifier": classifier}
    whole = make_job("whole")
    stage.search(given, whole, **inputs)
    before = 0
    for stop in stops:
        with pytest.raises(Stopped):
            stage.search(given, make_job("parts", stop_after=stop - before), **inputs)
        before = stop
    parts = make_job("parts")
    assert load_checkpoint(parts.state)[0] == stops[-1]
    assert len(state(parts)["windows"]["generator"]) > 0
    stage.search(given, parts, **inputs)
    assert same(state(whole), state(parts))
    for name in ("arch.json", "candidates.csv"):
        assert (whole.out / name).read_bytes() == (parts.out / name).read_bytes()
    assert state(whole)["shared"]["resets"] == (2 if changes is RESETS else 0)


def test_a_search_grows_and_keeps_its_best(make_job, data, classifier):
    job = make_job()
    stage.search(settings(), job, data=data, reward_classifier=classifier)
    found, record = rows(job), arch_json(job)
    assert len(found) == 2 * (2 * 2 * 2 + 4) == record["rewards"]
    assert {(row["stage"], len(row["code"].split())) for row in found} == {("0", 4), ("1", 9)}
    for number in ("0", "1"):
        scored = [row for row in found if row["stage"] == number and row["kind"] == "beam"]
        scores = {}
        for row in scored:
            scores[row["code"]] = max(scores.get(row["code"], 0), float(row["inception_score"]))
        best = sorted(scores.values(), reverse=True)[:2]
        kept = [float(row["inception_score"]) for row in scored if row["kept"] == "1"]
        assert sorted(kept, reverse=True) == best
    first = {row["code"] for row in found if row["stage"] == "0" and row["kept"] == "1"}
    second = {" ".join(row["code"].split()[:4]) for row in found if row["stage"] == "1"}
    assert second <= first  # every later candidate continues a beam
    assert not any(row["kept"] == "1" for row in found if row["kind"] == "controller")
    assert [item["inception_score"] for item in record["archs"]] == pytest.approx(best)
    assert record["space_size"] == 2_592
    archs = read_archs(job.out, skip_source="conv")
    assert [list(item.arch.code) for item in archs] == [item["code"] for item in record["archs"]]
    with pytest.raises(StageError, match="searched with skip_source 'conv'; it is 'sum' here"):
        read_archs(job.out, skip_source="sum")


def test_log_holds_what_the_figures_show(make_job, data, classifier):
    job = make_job()
    stage.search(settings(), job, data=data, reward_classifier=classifier)
    found = lines(job)
    assert [("loss_g" in line, "reward" in line) for line in found[:4]] == [
        (True, False),
        (True, False),
        (False, True),
        (False, True),
    ]
    assert {"entropy", "baseline", "reward", "loss_controller"} <= found[2].keys()
    assert [line["stage"] for line in found if "stage" in line] == [0.0] * 4 + [1.0] * 4


def test_a_collapsed_gan_waits_for_its_reset(make_job, data, classifier):
    job = make_job()
    given = settings(gan_steps=3, steps=2, u_stage=1, reset={"window": 2, "threshold": 1e6})
    stage.search(given, job, data=data, reward_classifier=classifier)
    assert arch_json(job)["resets"] == 2
    # The window of 2 is full after two updates; the third of each iteration trains nothing.
    assert [int("loss_g" in line) for line in lines(job)[:3]] == [1, 1, 0]
    job = make_job("never")
    given = settings(steps=2, u_stage=1, reset={"enabled": False} | {"window": 2})
    stage.search(given, job, data=data, reward_classifier=classifier)
    assert arch_json(job)["resets"] == 0


def searching_parts(data, **changes):
    given = settings(**changes)
    images, compute = load_split(data, "train"), resolve(given.runtime, "cpu")
    space = Space(given.cells, given.bottom_width)
    shared = SharedGan(given, space, images=images, compute=compute, seed=0)
    return given, shared, Agent(given, space, seed=0, device=compute.device)


def test_beginning_anew_forgets_weights_and_optimizers(data):
    _, shared, agent = searching_parts(data)
    fresh = {k: v.clone() for k, v in shared.generator.state_dict().items()}
    shared.update(0, steps=2, agent=agent)
    trained = {k: v.clone() for k, v in shared.generator.state_dict().items()}
    shared.begin_anew()
    again = shared.generator.state_dict()
    for name in ("linear.weight", "cells.0.first.pre.conv.weight", "to_rgb.2.weight"):
        assert not torch.equal(again[name], fresh[name])
        assert not torch.equal(again[name], trained[name])
    assert not shared.gan.generator.optimizer.state
    assert not shared.gan.discriminator.optimizer.state


def test_an_update_trains_only_what_its_architectures_use(data):
    _, shared, agent = searching_parts(data)
    before = {k: v.clone() for k, v in shared.generator.named_parameters()}
    shared.update(0, steps=2, agent=agent)
    with torch.no_grad():
        first = agent.draw(1, make_rng(0, 0, "arch")).archs[0]  # G's update takes D's first one
    moved = {k for k, v in shared.generator.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {name for name, _ in extract(shared.generator, first).named_parameters()}


def test_rewards_leave_the_shared_weights_alone(data, classifier):
    _, shared, agent = searching_parts(data)
    compute = shared.gan.compute
    network = load_reward_classifier(classifier, shared.images, compute.device)
    judge = Judge(network, compute, size=8, num_images=12, batch_size=8, splits=1)
    before = {k: v.clone() for k, v in shared.generator.state_dict().items()}
    drawn = agent.draw(3, make_rng(0, 0, "draw"))
    first = shared.rewards(drawn, judge, make_rng(0, 0, "reward"))
    assert same(before, dict(shared.generator.state_dict()))
    assert first == shared.rewards(drawn, judge, make_rng(0, 0, "reward"))
    assert all(reward >= 1.0 for reward in first)
    assert len(set(first)) > 1
    alone = extract(shared.generator, drawn.archs[0])
    assert alone.training
    judge.reward(alone, make_rng(0, 0, "reward"), calibration_batches=0)
    assert same(dict(alone.state_dict()), dict(extract(shared.generator, alone.arch).state_dict()))
    features, logits = judge.look(alone, make_rng(0, 0, "reward"))
    assert features.shape == (12, 4)
    assert logits.shape == (12, 4)


def test_recalibration_gives_the_statistics_of_the_batches():
    torch.manual_seed(0)
    network = AutoGanGenerator(code=(0, 1, 1, 1), width=3, bottom_width=2, z_dim=4)
    for value in (3.0, 7.0):  # whatever was there before does not count
        norm = network.cells[0].first["post"].norm
        norm.running_mean.fill_(value)
        batches = [torch.randn(6, 4, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
        seen = []
        hook = norm.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        recalibrate(network, iter(batches))
        hook.remove()
        means = torch.stack([x.mean((0, 2, 3)) for x in seen])
        torch.testing.assert_close(norm.running_mean, means.mean(0))
        assert norm.momentum == 0.1
        assert not network.training


@pytest.mark.parametrize("changes", [{"mlas": False}, {"method": "random", "mlas": False}])
def test_all_cells_at_once(make_job, data, classifier, changes):
    job = make_job()
    given = settings(steps=1, u_stage=1, **changes)
    stage.search(given, job, data=data, reward_classifier=classifier)
    assert {len(row["code"].split()) for row in rows(job)} == {9}
    assert len(rows(job)) == 2 * 2 + 4


def test_a_random_search_keeps_the_best_of_all_its_rewards(make_job, data, classifier):
    job = make_job()
    given = settings(method="random", distinct=False)
    stage.search(given, job, data=data, reward_classifier=classifier)
    for number in ("0", "1"):
        scored = [row for row in rows(job) if row["stage"] == number]
        assert len(scored) == 2 * 2 * 2 + 4
        scores = sorted((float(row["inception_score"]) for row in scored), reverse=True)
        kept = [float(row["inception_score"]) for row in scored if row["kept"] == "1"]
        assert sorted(kept, reverse=True) == scores[:2]
        assert any(row["kept"] == "1" for row in scored)


def test_three_cells_at_32_pixels(make_job, data32, classifier3):
    job = make_job()
    given = settings(
        preset="code",
        cells=3,
        bottom_width=4,
        steps=3,
        u_stage=1,
        gan_steps=1,
        controller_steps=1,
        n_critic=1,
        reset={"statistic": "variance"},
    )
    stage.search(given, job, data=data32, reward_classifier=classifier3)
    assert {len(row["code"].split()) for row in rows(job)} == {4, 9, 14}
    assert all(len(item["code"]) == 14 for item in arch_json(job)["archs"])
    assert arch_json(job)["skip_source"] == "sum"


def test_bf16_trains(make_job, data, classifier):
    given = settings(steps=2, u_stage=1, runtime={"precision": "bf16"})
    stage.search(given, make_job(), data=data, reward_classifier=classifier)


def test_bad_inputs_are_named(make_job, tmp_path, data, data32, classifier):
    with pytest.raises(StageError, match="make images of 16 x 16; those of the data set are 8 x 8"):
        stage.search(settings(bottom_width=4), make_job(), data=data, reward_classifier=classifier)
    with pytest.raises(StageError, match=r"reward classifier .*config\.json does not exist"):
        stage.search(settings(), make_job(), data=data, reward_classifier=tmp_path)
    given = settings(cells=3, bottom_width=4, u_stage=1)
    with pytest.raises(StageError, match="sees 1 channels, the images have 3"):
        stage.search(given, make_job(), data=data32, reward_classifier=classifier)
    arch = tmp_path / "arch.json"
    with pytest.raises(StageError, match=r"arch\.json does not exist"):
        read_archs(arch, skip_source="conv")
    arch.write_text(json.dumps({"archs": [{"code": list(PUBLISHED["A"].code[:13])}]}))
    with pytest.raises(StageError, match="it holds no architecture"):
        read_archs(arch, skip_source="conv")
