"""autogan.student: train the K best architectures of a search from scratch, keep the best one.

The best has the smallest Frechet distance to the validation split in the features of the reward
classifier: neither the report split nor the classifier that reports is looked at. A published
architecture, or any other by its integers, is trained by naming it; nothing is chosen then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimgen.config.autogan import StudentSettings
from slimgen.data.dataset import load_split
from slimgen.data.files import write_json
from slimgen.evaluation.complexity import count_params
from slimgen.networks.autogan_generator import save_generator
from slimgen.systems.autogan.derive import train_derived
from slimgen.systems.autogan.reward import Judge, load_reward_classifier
from slimgen.systems.autogan.space import Found, bottom_width, named, read_archs
from slimgen.training.job import Job, StageError
from slimgen.training.precision import resolve
from slimgen.training.seeding import make_rng


def student(
    settings: StudentSettings,
    job: Job,
    *,
    data: Path,
    reward_classifier: Path,
    arch: Path | None = None,
) -> None:
    """Train on the train split of `data`; write the chosen generator and selection.json.

    `arch` is the arch.json of a search, needed where the settings name no architecture.
    Raises StageError for bad input, Stopped on request.
    """
    given = named(settings)
    if (given is None) == (arch is None):
        raise StageError("autogan.student: an architecture comes from --arch or from settings.arch")
    images, validation = load_split(data, "train"), load_split(data, "validation")
    compute = resolve(settings.runtime, job.device)
    network = load_reward_classifier(reward_classifier, images, compute.device)
    if arch is not None:
        found = read_archs(arch, skip_source=settings.skip_source)[: settings.top_k]
    else:
        assert given is not None
        found = [Found(given)]
    for item in found:
        bottom_width(item.arch, images.shape)
    averages = train_derived(
        settings, job, [item.arch for item in found], images=images, compute=compute
    )
    judge = Judge(
        network,
        compute,
        size=images.shape[1],
        num_images=settings.selection_images,
        batch_size=settings.selection_batch,
        splits=settings.is_splits,
    )
    records: list[dict[str, Any]] = []
    for item, generator in zip(found, averages, strict=True):
        rng = make_rng(job.seed, 0, "selection", compute.device)
        distance, score = judge.distance_and_score(generator, validation, rng)
        records.append(
            {
                "code": list(item.arch.code),
                "shared_inception_score": item.score,
                "inception_score": score,
                "frechet_distance": distance,
                "params": count_params(generator),
            }
        )
    chosen = min(range(len(records)), key=lambda i: records[i]["frechet_distance"])
    selection = {
        "chosen": chosen,
        "num_images": settings.selection_images,
        "split": "validation",
        "reward_sha256": network.sha256,
        "candidates": records,
    }
    write_json(job.out / "selection.json", selection)
    save_generator(job.out, averages[chosen])
