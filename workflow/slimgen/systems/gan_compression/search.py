"""gan_compression.search: the best width vector under a hard budget of multiply-adds.

argmin_c score(supernet(c))  s.t.  MACs(c) <= budget (and, where asked for, latency(c) <= budget)

Li et al. 2020; nothing is trained. What breaks a budget is never scored; `budget_rule` says how
its multiply-adds are counted. Scores are taken on the search split, under the classifier that
rewards. Every score goes into a journal in the state folder
before the next one is taken; a search that is stopped goes on by drawing the same vectors again
with the scores that are known, which is exact after any evaluation.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from slimgen.config.gan_compression import SearchSettings
from slimgen.data.files import write_json, write_text
from slimgen.evaluation.channel_costs import Costs, subnet_costs
from slimgen.evaluation.complexity import Macs, count_macs
from slimgen.evaluation.latency import time_calls
from slimgen.networks.elastic_surgery import extract
from slimgen.networks.translators import describe_shape
from slimgen.search.channel_evolution import ChannelEvolution, different, evolve
from slimgen.search.channel_space import Widths, format_widths
from slimgen.systems.gan_compression.artefacts import (
    Supernet,
    load_supernet,
    read_generator,
    read_pairs,
)
from slimgen.systems.gan_compression.judge import Judge, check_calibration, make_judge
from slimgen.training.job import Job, StageError
from slimgen.training.precision import resolve
from slimgen.training.seeding import derive_seed

COLUMNS = ("widths", "macs", "params", "score", "latency_ms", "generation", "chosen")
COUNTED = 5_000  # so many vectors at most tell which share of the space keeps the budget
MAX_EXHAUSTIVE = 50_000  # vectors within the budget; beyond, evolution
JOURNAL = "scores.jsonl"


def counted(macs: Macs, settings: SearchSettings) -> int:
    """Return multiply-adds by the rule that the budget is given in."""
    return macs.total if settings.budget_rule == "exact" else macs.torchprofile


@dataclass
class Searching:
    """The subnets that were drawn and scored, and the journal of what that took."""

    settings: SearchSettings
    job: Job
    supernet: Supernet
    costs: Costs
    judge: Judge
    budget: float | None
    known: dict[Widths, dict[str, Any]] = field(default_factory=dict)  # the journal
    scores: dict[Widths, float] = field(default_factory=dict)
    generations: dict[Widths, int] = field(default_factory=dict)  # in which it was drawn first
    visited: int = 0

    def __post_init__(self) -> None:
        path = self.job.state / JOURNAL
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a line that was cut off is measured again
        for line in whole.splitlines():
            entry = json.loads(line)
            self.known[tuple(entry.pop("widths"))] = entry
        if whole != text:
            write_text(path, whole)

    def macs(self, widths: Widths) -> Macs:
        """Return the multiply-adds of a subnet."""
        return self.costs.macs(widths)

    def within(self, widths: Widths) -> bool:
        """Return whether a subnet keeps the budget of multiply-adds; None is none."""
        return self.budget is None or counted(self.macs(widths), self.settings) <= self.budget

    def fits(self, widths: Widths) -> bool:
        """Return whether a subnet keeps the budgets."""
        if not self.within(widths):
            return False
        limit = self.settings.latency_budget
        return limit is None or self.latency(widths) <= limit

    def visit(self, generation: int, widths: Widths) -> None:
        """Note that a vector was drawn."""
        self.visited += 1
        self.generations.setdefault(widths, generation)

    def loss(self, widths: Widths) -> float:
        """Return the score of a subnet, less is better; taken once."""
        if widths not in self.scores:
            if "score" not in self.known.get(widths, {}):
                score = self.judge.score(extract(self.supernet.network, widths))
                self._note(widths, score=score)
            self.scores[widths] = self.known[widths]["score"]
        return self.judge.loss(self.scores[widths])

    def latency(self, widths: Widths) -> float:
        """Return the median milliseconds of a subnet on one image, measured once."""
        if "latency_ms" not in self.known.get(widths, {}):
            self._note(widths, latency_ms=self._time(widths))
        found: float = self.known[widths]["latency_ms"]
        return found

    @torch.no_grad()
    def _time(self, widths: Widths) -> float:
        compute = self.judge.compute
        network = extract(self.supernet.network, widths)
        x = self.judge.pairs.batch_inputs(torch.zeros(1, dtype=torch.int64), compute.device)
        with compute.autocast():
            repeats, device = self.settings.latency_repeats, compute.device
            return time_calls(lambda: network(x), batch=1, repeats=repeats, device=device).median

    def _note(self, widths: Widths, **values: float) -> None:
        entry = self.known.setdefault(widths, {})
        entry.update(values)
        with (self.job.state / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"widths": widths, **entry}) + "\n")
        self.job.progress(step=len(self.scores) + 1)
        self.job.stop_if_asked()

    def best(self) -> Widths:
        """Return the best vector; ties go to fewer multiply-adds, then to the smaller widths."""
        return min(self.scores, key=lambda w: (self.loss(w), self.macs(w).total, w))


def smallest_possible(searching: Searching) -> None:
    """Raise StageError where not even the narrowest subnet keeps the budgets."""
    smallest = searching.supernet.space.smallest
    macs = counted(searching.macs(smallest), searching.settings)
    limit = searching.settings.latency_budget
    if searching.budget is not None and macs > searching.budget:
        raise StageError(
            f"budget: {searching.budget:,.0f} MACs are met by no subnet; the smallest possible, "
            f"{format_widths(smallest)}, has {macs:,}"
        )
    if limit is not None and searching.latency(smallest) > limit:
        raise StageError(
            f"latency_budget: {limit:g} ms are met by no subnet; the smallest possible, "
            f"{format_widths(smallest)}, takes {searching.latency(smallest):.3g} ms on this device"
        )


def share_within(searching: Searching) -> float:
    """Return the share of the space (of a sample, where it is large) within the budget of MACs."""
    rng, space = random.Random(0), searching.supernet.space
    drawn = list(space) if space.size <= COUNTED else [space.sample(rng) for _ in range(COUNTED)]
    return sum(map(searching.within, drawn)) / len(drawn)


def run_method(searching: Searching, seed: int) -> None:
    """Score what the method draws.

    Raises StageError where an exhaustive search would not end.
    """
    settings, space = searching.settings, searching.supernet.space
    rng = random.Random(derive_seed(seed, 0, "search"))
    evolution = ChannelEvolution(
        population=settings.population,
        parent_ratio=settings.parent_ratio,
        mutation_ratio=settings.mutation_ratio,
        mutate_probability=settings.mutate_probability,
        generations=settings.generations,
        weighting=settings.weighting,
        weighting_ratio=settings.weighting_ratio,
    )
    if settings.method == "evolution":
        evolve(
            space,
            evolution,
            fits=searching.fits,
            loss=searching.loss,
            rng=rng,
            visit=searching.visit,
        )
    elif settings.method == "random":
        count = settings.evaluations or evolution.draws
        for widths in different(space, count, fits=searching.fits, rng=rng):
            searching.visit(0, widths)
            searching.loss(widths)
    else:
        share = share_within(searching)
        if share * space.size > MAX_EXHAUSTIVE:
            raise StageError(
                f"method exhaustive: about {share * space.size:,.0f} vectors keep the budget, more "
                f"than {MAX_EXHAUSTIVE:,}; use evolution"
            )
        for widths in space:
            if searching.fits(widths):
                searching.visit(0, widths)
                searching.loss(widths)


def candidates_csv(searching: Searching, chosen: Widths) -> str:
    """Return one line per vector that was scored, in the order in which they were drawn."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for widths, score in searching.scores.items():
        latency = searching.known[widths].get("latency_ms")
        writer.writerow(
            [
                format_widths(widths),
                searching.macs(widths).total,
                searching.costs.params(widths),
                repr(score),
                "" if latency is None else repr(latency),
                searching.generations[widths],
                int(widths == chosen),
            ]
        )
    return file.getvalue()


def arch_record(searching: Searching, chosen: Widths, teacher: Macs) -> Mapping[str, Any]:
    """Return the contents of arch.json."""
    settings, supernet = searching.settings, searching.supernet
    space, macs = supernet.space, searching.macs(chosen)
    return {
        "system": "gan_compression",
        "method": settings.method,
        "criterion": settings.criterion,
        "num_images": searching.judge.count,
        "widths": list(chosen),
        "entries": list(supernet.network.plan.entries),
        "score": searching.scores[chosen],
        "macs": macs.total,
        "macs_torchprofile": macs.torchprofile,
        "params": searching.costs.params(chosen),
        "latency_ms": searching.known[chosen].get("latency_ms"),
        "budget": searching.budget,
        "budget_rule": settings.budget_rule,
        "latency_budget": settings.latency_budget,
        "teacher_macs": teacher.total,
        "teacher_macs_torchprofile": teacher.torchprofile,
        "smallest_macs": searching.macs(space.smallest).total,
        "largest_macs": searching.macs(space.largest).total,
        "space_size": space.size,
        "share_within_budget": share_within(searching),
        "visited": searching.visited,
        "evaluated": len(searching.scores),
        "options": [list(choices) for choices in space.options],
        "generator": describe_shape(supernet.shape),
    }


def search(
    settings: SearchSettings,
    job: Job,
    *,
    data: Path,
    supernet: Path,
    teacher: Path,
    reward_classifier: Path | None = None,
) -> None:
    """Search with the train and search splits of `data`; write arch.json and candidates.csv.

    Raises StageError for bad input and a budget that no subnet meets, Stopped on request.
    """
    compute = resolve(settings.runtime, job.device)
    pairs, calibration = read_pairs(data, "search"), read_pairs(data, "train")
    net = load_supernet(supernet, compute.device, build=settings.build)
    wide = read_generator(teacher, pairs, compute.device, build=settings.build)
    x = pairs.batch_inputs(torch.zeros(1, dtype=torch.int64), compute.device)
    teacher_macs = count_macs(wide, x)
    budget = settings.budget
    if settings.budget_ratio is not None:
        budget = counted(teacher_macs, settings) / settings.budget_ratio
    check_calibration(net.network.network, calibration)
    judge = make_judge(settings, pairs, calibration, classifier=reward_classifier, compute=compute)
    searching = Searching(settings, job, net, subnet_costs(net.network, x), judge, budget)
    smallest_possible(searching)
    run_method(searching, job.seed)
    chosen = searching.best()
    write_text(job.out / "candidates.csv", candidates_csv(searching, chosen))
    write_json(job.out / "arch.json", arch_record(searching, chosen, teacher_macs))
