"""The records of a stream of images: every score in the reference's features, and their speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slimgen.config.shared import MeasureSettings, TranslateSettings
from slimgen.evaluation.feature_network import FeatureNetwork
from slimgen.evaluation.fidelity import fidelity
from slimgen.evaluation.generation import Generated
from slimgen.evaluation.record import RANK_DEFICIENT, Record, metric_name
from slimgen.evaluation.reference import Reference

MakeRecord = Callable[..., Record]
ScoreSettings = MeasureSettings | TranslateSettings


def check_enough(count: int, settings: ScoreSettings, name: str) -> None:
    """Raise ValueError where `count` images, called `name`, are too few for a score."""
    needed = max(2, settings.is_splits, settings.neighbours + 1)
    if count < needed:
        raise ValueError(
            f"{name} = {count}: too few; FID, {settings.is_splits} splits and "
            f"{settings.neighbours} neighbours need at least {needed}"
        )


def provenance(network: FeatureNetwork) -> dict[str, str]:
    """Return what a record of a score says about its features."""
    return {
        "features": network.name,
        "features_sha256": network.sha256,
        "resize": network.resize,
    }


def score_records(
    images: Generated,
    settings: ScoreSettings,
    *,
    reference: Reference,
    network: FeatureNetwork,
    record: MakeRecord,
) -> list[Record]:
    """Return FID, q, IS, KID, precision, recall of images, and how fast they came."""
    scores = fidelity(
        images.features,
        images.logits,
        reference,
        is_splits=settings.is_splits,
        kid_subsets=settings.kid_subsets,
        kid_subset_size=settings.kid_subset_size,
        neighbours=settings.neighbours,
    )
    n = len(images.features)
    deficient = min(n, len(reference.features)) <= images.features.shape[1]
    scored = partial(record, **provenance(network))
    records = [
        scored(
            metric=metric_name(metric, network.name),
            value=score.value,
            spread=score.spread,
            note=RANK_DEFICIENT if deficient and metric in ("fid", "q") else None,
        )
        for metric, score in scores.items()
    ]
    return [
        *records,
        record(metric="generation_seconds", value=images.seconds),
        record(metric="images_per_second", value=n / images.seconds),
    ]
