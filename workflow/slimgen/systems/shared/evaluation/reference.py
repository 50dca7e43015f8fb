"""Stage evaluation.reference: what every model of a data set is compared with, computed once.

The report split under the feature network; the floor (train split against report split), where
q = 0; and the FID of images drawn from a Gaussian fitted to the train pixels, where q = 1. The
classifier may be that of another data set, `pool` then brings images to its size.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import torch

from slimgen.config.shared import ReferenceSettings
from slimgen.data.dataset import Images, load_split
from slimgen.evaluation.feature_network import (
    FeatureNetwork,
    features_of,
    open_feature_network,
)
from slimgen.evaluation.fidelity import (
    Score,
    accuracy,
    inception_score,
    kernel_distance,
    precision_recall,
    quality,
)
from slimgen.evaluation.frechet import factor, fit_gaussian, frechet_distance
from slimgen.evaluation.pixel_gaussian import sample_pixel_gaussian
from slimgen.evaluation.record import (
    GAUSSIAN,
    RANK_DEFICIENT,
    REPORT,
    TRAIN,
    Record,
    metric_name,
    write_records,
)
from slimgen.evaluation.reference import REFERENCE, Reference, save_reference
from slimgen.training.job import Job, StageError


def describe(
    settings: ReferenceSettings, job: Job, network: FeatureNetwork, train: Images, report: Images
) -> tuple[Reference, list[Record]]:
    """Return the reference and its records.

    Raises ValueError where a split is too small for a metric, or the features see nothing.
    """
    start = time.monotonic()
    features, logits = features_of(network, report.images, settings.batch_size)
    train_features, _ = features_of(network, train.images, settings.batch_size)
    drawn = sample_pixel_gaussian(train.images, num_images=settings.num_images, seed=job.seed)
    gauss_features = torch.cat([network(batch)[0] for batch in drawn])
    gaussian = fit_gaussian(features)
    H = factor(gaussian.cov)
    floor = frechet_distance(fit_gaussian(train_features), gaussian, H)
    gauss = frechet_distance(fit_gaussian(gauss_features), gaussian, H)
    quality(gauss, floor=floor, gauss=gauss)  # raises where q would mean nothing
    reference = Reference(
        features,
        gaussian,
        H,
        report.shape,
        floor,
        gauss,
        network.name,
        network.sha256,
        settings.pool,
    )
    kid = kernel_distance(
        train_features,
        features,
        subsets=settings.kid_subsets,
        subset_size=settings.kid_subset_size,
    )
    precision, recall = precision_recall(train_features, features, neighbours=settings.neighbours)
    score = inception_score(logits, splits=settings.is_splits)
    values = [
        ("floor", TRAIN, len(train), Score(floor)),
        ("fid_gauss", GAUSSIAN, settings.num_images, Score(gauss)),
        (metric_name("inception_score", network.name), REPORT, len(report), score),
        (metric_name("kid", network.name), TRAIN, len(train), kid),
        (metric_name("precision", network.name), TRAIN, len(train), Score(precision)),
        (metric_name("recall", network.name), TRAIN, len(train), Score(recall)),
    ]
    right = accuracy(network, logits, report.labels, report.num_classes)
    if right is not None:
        values.append(("classifier_accuracy", REPORT, len(report), Score(right)))
    record = partial(
        Record,
        seconds=round(time.monotonic() - start, 3),
        seed=job.seed,
        device=job.device,
        dtype="float32",
        code=job.code,
        features=network.name,
        features_sha256=network.sha256,
        resize=network.resize,
    )
    deficient = min(len(train), len(report), settings.num_images) <= features.shape[1]
    records = [
        record(
            metric=metric,
            value=score.value,
            spread=score.spread,
            sampler=sampler,
            num_images=n,
            note=RANK_DEFICIENT if deficient and metric in ("floor", "fid_gauss") else None,
        )
        for metric, sampler, n, score in values
    ]
    return reference, records


def reference(
    settings: ReferenceSettings, job: Job, *, data: Path, classifier: Path | None = None
) -> None:
    """Write reference.npz and records.json of a data set; `classifier` where it gives the features.

    Raises StageError where the feature network is missing or there are too few images.
    """
    try:
        network = open_feature_network(
            settings.features,
            classifier=classifier,
            inception_path=settings.inception_path,
            inception_sha256=settings.inception_sha256,
            device=torch.device(job.device),
            pool=settings.pool,
        )
        train, report = load_split(data, "train"), load_split(data, "report")
        result, records = describe(settings, job, network, train, report)
    except ValueError as error:
        raise StageError(f"{job.stage}: {error}") from None
    save_reference(job.out / REFERENCE, result)
    write_records(job.out / "records.json", records)
