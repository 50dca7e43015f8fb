"""gan_compression.search: budgets, exactness of resuming, exhaustive against brute force."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slimgen.config.gan_compression import SearchSettings
from slimgen.data.pairs import load_pairs
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.networks.classifier import Classifier, ClassifierShape, save_classifier
from slimgen.networks.gan_generators import initialise, make_generator
from slimgen.networks.resnet_generator import ResnetShape
from slimgen.networks.spade_generator import SpadeShape
from slimgen.networks.translators import extract_translator, make_supernet_of, save_translator
from slimgen.search.channel_space import ChannelSpace, parse_widths
from slimgen.systems.gan_compression.artefacts import Supernet, load_supernet, save_supernet
from slimgen.systems.gan_compression.judge import check_calibration, make_judge
from slimgen.systems.gan_compression.search import search
from slimgen.training.job import StageError, Stopped
from slimgen.training.precision import resolve

RESNET = ResnetShape(1, 1, (8,) * 8, blocks=3, separable=("blocks",))
SPADE = SpadeShape(4, 1, (4,) * 8, mobile=True, upsamplings=3)
OPTIONS = ((8, 4), (8,), (8, 4, 2), (8, 4), (4,), (4,), (8, 4), (4,))  # 24 vectors


@pytest.fixture(scope="session")
def reward(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("reward")
    save_classifier(folder, Classifier(ClassifierShape(1, 3, channels=(8, 8), features=4)))
    return folder


def saved_supernet(folder: Path, shape, options) -> tuple[Path, Path]:
    """Write a supernet with random weights and its teacher; return their folders."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    network = make_generator(shape)
    initialise(network, "normal", rng, gain=0.3)
    teacher = make_generator(shape)
    initialise(teacher, "normal", rng, gain=0.3)
    save_translator(folder / "teacher", teacher)
    (folder / "supernet").mkdir()
    elastic = make_supernet_of(network, size=(16, 16))
    save_supernet(
        folder / "supernet", Supernet(elastic, ChannelSpace(options), shape), size=(16, 16)
    )
    return folder / "supernet", folder / "teacher"


@pytest.fixture(scope="session")
def resnet(tmp_path_factory) -> tuple[Path, Path]:
    return saved_supernet(tmp_path_factory.mktemp("resnet"), RESNET, OPTIONS)


@pytest.fixture
def run(make_job, edges, resnet, reward):
    def run(name: str, *, stop_after: int | None = None, data=edges, parts=resnet, **settings):
        job = make_job(name, stop_after=stop_after)
        common = {"population": 6, "generations": 3, "num_images": 6}
        search(
            SearchSettings.model_validate(common | settings),
            job,
            data=data,
            supernet=parts[0],
            teacher=parts[1],
            reward_classifier=reward,
        )
        return job.out

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "candidates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def arch(folder: Path) -> dict:
    return json.loads((folder / "arch.json").read_text())


COUNTS = {"exact": "total", "torchprofile": "torchprofile"}  # rule -> the number of Macs


@pytest.mark.parametrize("rule", COUNTS)
@pytest.mark.parametrize("method", ["evolution", "random", "exhaustive"])
def test_nothing_that_breaks_the_budget_is_scored(run, resnet, method, rule) -> None:
    given = {"method": method, "criterion": "psnr", "evaluations": 12}
    out = run(method, **given, budget_ratio=1.8, budget_rule=rule)
    found, supernet = arch(out), load_supernet(resnet[0], "cpu", build=None)
    x = torch.zeros(1, 1, 16, 16)
    suffix = "" if rule == "exact" else "_torchprofile"
    assert found["budget_rule"] == rule
    assert found["budget"] == found[f"teacher_macs{suffix}"] / 1.8
    keeping = {
        widths
        for widths in supernet.space
        if getattr(count_macs(extract_translator(supernet.network, widths), x), COUNTS[rule])
        <= found["budget"]
    }
    assert 0 < found["share_within_budget"] == len(keeping) / supernet.space.size < 1
    scored = {parse_widths(row["widths"]) for row in rows(out)}
    assert scored == keeping if method == "exhaustive" else scored <= keeping
    assert len(rows(out)) == found["evaluated"] <= found["visited"]
    for row in rows(out):
        widths = parse_widths(row["widths"])
        supernet.space.check(widths)
        small = extract_translator(supernet.network, widths)
        assert int(row["macs"]) == count_macs(small, x).total
        assert int(row["params"]) == count_params(small)
    (chosen,) = [row for row in rows(out) if row["chosen"] == "1"]
    assert list(parse_widths(chosen["widths"])) == found["widths"]
    assert float(chosen["score"]) == max(float(row["score"]) for row in rows(out))


@pytest.mark.parametrize("criterion", ["fid", "accuracy", "psnr"])
def test_exhaustive_is_the_best_of_all_by_brute_force(
    run, resnet, edges, reward, criterion
) -> None:
    out = run(criterion, method="exhaustive", criterion=criterion, budget_ratio=1.5)
    supernet = load_supernet(resnet[0], "cpu", build=None)
    settings = SearchSettings(criterion=criterion, num_images=6)
    judge = make_judge(
        settings,
        load_pairs(edges, "search"),
        load_pairs(edges, "train"),
        classifier=reward,
        compute=resolve(settings.runtime, "cpu"),
    )
    budget, x = arch(out)["budget"], torch.zeros(1, 1, 16, 16)
    scores = {}
    for widths in supernet.space:
        small = extract_translator(supernet.network, widths)
        macs = count_macs(small, x).total
        if macs <= budget:
            scores[widths] = (judge.loss(judge.score(small)), macs, widths)
    assert arch(out)["evaluated"] == len(scores)
    assert tuple(arch(out)["widths"]) == min(scores, key=scores.__getitem__)


@pytest.mark.parametrize("method", ["evolution", "random"])
def test_a_search_stopped_after_any_evaluation_ends_the_same(run, method) -> None:
    whole = run("whole", method=method, evaluations=9, budget_ratio=1.5)
    evaluated = arch(whole)["evaluated"]
    starts = 0
    while True:
        try:
            out = run("stopped", method=method, evaluations=9, budget_ratio=1.5, stop_after=1)
            break
        except Stopped:
            starts += 1
    assert starts == evaluated
    for name in ("arch.json", "candidates.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_journal_cut_off_in_a_line_goes_on(run, make_job) -> None:
    whole = run("whole", budget_ratio=1.5)
    with pytest.raises(Stopped):
        run("cut", budget_ratio=1.5, stop_after=4)
    journal = make_job("cut").state / "scores.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    out = run("cut", budget_ratio=1.5)
    assert (out / "candidates.csv").read_bytes() == (whole / "candidates.csv").read_bytes()


def test_a_latency_budget_keeps_slow_subnets_out(run) -> None:
    free = run("free", method="exhaustive", latency_budget=10**6, latency_repeats=2)
    times = sorted(float(row["latency_ms"]) for row in rows(free))
    assert len(times) == 24
    assert all(time > 0 for time in times)
    with pytest.raises(StageError, match=r"latency_budget.*no subnet.*4_8_2_4_4_4_4_4, takes"):
        run("none", latency_budget=1e-6, latency_repeats=2)


def test_the_rule_of_the_papers_counts_more(run) -> None:
    """So a budget between the two counts of a subnet keeps it out, or lets it in."""
    found = arch(run("all", method="exhaustive", criterion="psnr"))
    between = (found["macs"] + found["macs_torchprofile"]) / 2
    widths = {
        rule: {row["widths"] for row in rows(run(rule, method="exhaustive", **given))}
        for rule in COUNTS
        for given in [{"budget": between, "budget_rule": rule, "criterion": "psnr"}]
    }
    chosen = "_".join(map(str, found["widths"]))
    assert chosen in widths["exact"]
    assert chosen not in widths["torchprofile"]
    assert widths["torchprofile"] < widths["exact"]


@pytest.mark.parametrize("rule", COUNTS)
def test_a_budget_that_no_subnet_meets_says_the_smallest(run, resnet, rule) -> None:
    with pytest.raises(StageError) as caught:
        run("small", budget=1000, budget_rule=rule)
    supernet = load_supernet(resnet[0], "cpu", build=None)
    small = extract_translator(supernet.network, supernet.space.smallest)
    smallest = getattr(count_macs(small, torch.zeros(1, 1, 16, 16)), COUNTS[rule])
    assert str(caught.value) == (
        "budget: 1,000 MACs are met by no subnet; the smallest possible, 4_8_2_4_4_4_4_4, has "
        f"{smallest:,}"
    )


def test_batch_norms_are_measured_anew_before_a_score(label_maps) -> None:
    torch.manual_seed(0)
    network, settings = make_generator(SPADE), SearchSettings(criterion="psnr", num_images=6)
    initialise(network, "xavier", torch.Generator().manual_seed(0), gain=1.0)
    train = load_pairs(label_maps, "train")
    judge = make_judge(
        settings,
        load_pairs(label_maps, "search"),
        train,
        classifier=None,
        compute=resolve(settings.runtime, "cpu"),
    )
    score = judge.score(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean += 1.0
        norm.running_var *= 9.0
    assert judge.score(network) == score
    check_calibration(network, train)
    with pytest.raises(StageError, match=r"param_free_norm.*train split has no inputs to calibr"):
        check_calibration(network, replace(train, inputs=train.inputs[:0]))


def test_a_criterion_that_the_data_cannot_have(run, strokes) -> None:
    with pytest.raises(StageError, match="psnr: inputs and targets are not aligned"):
        run("psnr", data=strokes, criterion="psnr")


def test_a_supernet_that_is_none(run, tmp_path, resnet) -> None:
    with pytest.raises(StageError, match=r"supernet.*config.json does not exist"):
        run("none", parts=(tmp_path, resnet[1]))


def test_what_is_too_slow_is_not_scored(run, monkeypatch) -> None:
    from slimgen.systems.gan_compression.search import Searching

    monkeypatch.setattr(Searching, "_time", lambda _, widths: float(sum(widths)))
    found = rows(run("slow", method="exhaustive", latency_budget=38.0, criterion="psnr"))
    assert 0 < len(found) < 24
    assert all(sum(parse_widths(row["widths"])) <= 38 for row in found)


def test_the_search_looks_at_the_search_and_train_splits_alone(run, edges, tmp_path) -> None:
    import shutil

    less = tmp_path / "less"
    shutil.copytree(edges, less)
    for split in ("validation", "report"):
        (less / f"{split}.npz").unlink()
    run("less", data=less, method="exhaustive", criterion="psnr")
