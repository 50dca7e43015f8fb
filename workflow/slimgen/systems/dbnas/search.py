"""dbnas.search: choose kernel sizes (and inner widths), block by block.

argmin Cost(alpha_i)  s.t.  L(w_i, alpha_i; X_i, Y_i) <= r L(w_i, alpha_base; X_i, Y_i)

Tang et al. 2023. alpha_base is the teacher's architecture (size 3 everywhere) inside the same
supernet, not the teacher itself; ties in cost go to the lower loss. Cost is parameters (`paper`) or
multiply-adds (`code`) of the searchable convs; in a block of one resolution these are proportional
(up to its constant biases) and give the same result. Where the supernet has inner widths, these are
chosen along, and the norms and time projections that they resize count as well. Method `global` is
the ablation: evolution over all blocks at once under sum of losses <= r times that of the base.
Method `random` draws uniformly among all architectures whose cost is near that of `like`.
"""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from slimgen.config.dbnas import SearchSettings
from slimgen.data.dataset import load_split
from slimgen.data.files import read_json, write_json, write_text
from slimgen.evaluation.complexity import count_params, count_unet_macs
from slimgen.networks.block_choices import Choices, kernels_of, resblocks, widths_of
from slimgen.networks.searched_unet import SearchedUNet2DModel, unet_config
from slimgen.networks.unet import image_shape
from slimgen.search.space import Arch, arch_cost, block_cost, text
from slimgen.systems.dbnas.artefacts import load_supernet, load_teacher, plain_config, read_arch
from slimgen.systems.dbnas.choose import (
    Problem,
    draw_like,
    make_problem,
    search_block,
    search_globally,
)
from slimgen.systems.dbnas.scores import BlockScorer, draw_images, make_scorer
from slimgen.training.job import Job, StageError

COLUMNS = ("block", "arch", "loss", "relative_loss", "params", "macs", "chosen", "base")


def candidates_csv(problem: Problem, losses: dict[str, dict[Choices, float]], arch: Arch) -> str:
    """Return one line per candidate that was scored."""
    base, with_widths = problem.space.base, bool(problem.space.widths)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, scored in losses.items():
        for choices, loss in sorted(scored.items()):
            params, macs = (block_cost(c, name, choices) for c in (problem.params, problem.macs))
            flags = (int(choices == arch[name]), int(choices == base[name]))
            relative = loss / scored[base[name]]
            widths = widths_of(choices) if with_widths else ()
            written = text(kernels_of(choices, with_widths=with_widths), widths)
            writer.writerow([name, written, repr(loss), repr(relative), params, macs, *flags])
    return file.getvalue()


def as_lists(choices: Mapping[str, Choices]) -> dict[str, list[int]]:
    """Return a mapping as JSON values."""
    return {name: list(values) for name, values in choices.items()}


def widths_record(arch: Arch, base: Arch) -> dict[str, Any]:
    """Return the entries of arch.json that stand there where inner widths were chosen."""
    if arch.widths is None or base.widths is None:
        return {}
    return {"widths": as_lists(arch.widths), "base_widths": as_lists(base.widths)}


def changed_convs(arch: Arch, base: Arch) -> int:
    """Return how many convs differ from the base's, in kernel size or in channels."""
    changed = 0
    for name in arch:
        pairs = [resblocks(choices[name], with_widths=arch.with_widths) for choices in (arch, base)]
        for (*width, k1, k2), (*base_width, b1, b2) in zip(*pairs, strict=True):
            changed += (k1 != b1 or width != base_width) + (k2 != b2 or width != base_width)
    return changed


def arch_record(
    problem: Problem, settings: SearchSettings, teacher: Any, arch: Arch, losses: dict[str, Any]
) -> dict[str, Any]:
    """Return the contents of arch.json."""
    base = problem.space.base
    with torch.device("meta"):
        network = SearchedUNet2DModel(arch.kernels, arch.widths, **unet_config(teacher))
    cost, base_cost = arch_cost(problem.costs, arch), arch_cost(problem.costs, base)
    return {
        "system": "dbnas",
        "method": settings.method,
        "r": None if settings.method == "random" else settings.r,
        "cost": settings.cost,
        "is_base": arch == base,
        "kernels": as_lists(arch.kernels),
        **widths_record(arch, base),
        "params": count_params(network),
        "macs": count_unet_macs(network, image_shape(teacher)).total,
        "searchable_params": arch_cost(problem.params, arch),
        "searchable_macs": arch_cost(problem.macs, arch),
        "base_searchable_params": arch_cost(problem.params, base),
        "base_searchable_macs": arch_cost(problem.macs, base),
        "relative_cost": cost / base_cost,
        "convs": sum(map(len, arch.kernels.values())),
        "changed_convs": changed_convs(arch, base),
        "candidates": {name: len(scored) for name, scored in losses.items()},
        "losses": {name: losses[name][arch[name]] for name in arch},
        "base_losses": {name: losses[name][base[name]] for name in arch},
        "num_images": settings.num_images,
        "repeats": settings.repeats,
        "unet": plain_config(teacher),
    }


def score_blocks(
    job: Job,
    problem: Problem,
    scorers: Any,
    wanted: dict[str, Any] | None,
) -> dict[str, BlockScorer]:
    """Score block after block: every candidate, or the `wanted` ones of each block.

    `scorers` makes the scorer of a name. Finished blocks are kept in the state folder.
    """
    finished: dict[str, BlockScorer] = {}
    for done, (name, _) in enumerate(problem.space.positions):
        job.stop_if_asked()
        job.progress(step=done, steps=len(problem.space.positions))
        scorer: BlockScorer = scorers(name)
        saved = job.state / f"losses.{name}.json"
        if saved.exists():
            scorer.losses = {tuple(choices): loss for choices, loss in read_json(saved)}
        elif wanted is not None:
            for choices in wanted[name]:
                scorer.loss(choices)
        elif problem.enumerable(name):
            scorer.score_every()
        write_json(saved, [[list(choices), loss] for choices, loss in scorer.losses.items()])
        if problem.enumerable(name):
            scorer.cached.clear()  # all that is asked for is known
        finished[name] = scorer
    return finished


def search(
    settings: SearchSettings,
    job: Job,
    *,
    supernet: Path,
    teacher: Path,
    data: Path,
    like: Path | None = None,
) -> None:
    """Write arch.json and candidates.csv into `job.out`.

    `like` is the arch.json whose cost method `random` matches.
    Raises StageError for bad input, Stopped on request.
    """
    images = load_split(data, "search")
    if settings.num_images > len(images):
        raise StageError(
            f"dbnas.search.num_images = {settings.num_images}: the search split has "
            f"{len(images)} images"
        )
    if (like is None) == (settings.method == "random"):
        raise StageError("dbnas.search: --like goes with method random, and only with it")
    network, process = load_teacher(teacher, images, job.device)
    net = load_supernet(supernet, job.device)
    if plain_config(net.unet) != plain_config(network):
        raise StageError(f"supernet {supernet}: it was trained for another U-Net than {teacher}")
    problem = make_problem(net, network, settings.cost)
    noised = draw_images(settings, images, process.schedule, seed=job.seed, device=job.device)

    def scorer(name: str) -> BlockScorer:
        return make_scorer(net, network, name, noised, settings.batch_size)

    if like is not None:
        model = read_arch(like)
        try:
            problem.space.check(model)
        except ValueError as error:
            raise StageError(f"{like}: {error}") from None
        arch = draw_like(problem, model, settings.tolerance, job.seed)
        wanted = {name: (problem.space.base[name], arch[name]) for name in arch}
        scorers = score_blocks(job, problem, scorer, wanted)
    else:
        scorers = score_blocks(job, problem, scorer, None)
        if settings.method == "global":
            arch = search_globally(problem, scorers, settings, job.seed)
        else:
            found = [search_block(problem, s, n, settings, job.seed) for n, s in scorers.items()]
            arch = problem.space.arch(list(itertools.chain.from_iterable(found)))
    losses = {name: scorer.losses for name, scorer in scorers.items()}
    if arch == problem.space.base:
        print(
            f"dbnas.search: nothing cheaper keeps r = {settings.r:g}; the result is the base",
            file=sys.stderr,
        )
    write_text(job.out / "candidates.csv", candidates_csv(problem, losses, arch))
    write_json(job.out / "arch.json", arch_record(problem, settings, network, arch, losses))
