"""Stage data.prepare: read a source, split it once and for all, write arrays and a manifest.

Every other stage reads only these files. Where the source has an official test set (CIFAR-10,
Fashion-MNIST) the report split is drawn from it alone, so that the reported numbers are about
images that no published recipe trains on, and the rest of the test set stays unused; train, search
and validation come from the official train images. A source of pairs gives `inputs` and
`input_labels` beside the targets, which are the `images` and `labels` of its files.
"""

from __future__ import annotations

import hashlib
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from slimgen.config.shared import DataPrepareSettings
from slimgen.data.errors import DataError, FetchError
from slimgen.data.files import atomic_path, digest, write_json
from slimgen.data.pair_split import split_pairs
from slimgen.data.progress import Reporter
from slimgen.data.raw import Raw, RawPairs
from slimgen.data.sources import read_source
from slimgen.data.split import SPLITS, split_indices
from slimgen.training.job import Job, PassingError, StageError


def duplicates_across(images: np.ndarray, parts: dict[str, np.ndarray]) -> dict[str, int]:
    """Count, for each pair of splits, the images of the second that equal an image of the first.

    Only pairs that share an image are named, as `train-report`.
    """
    digests = {
        name: [hashlib.blake2b(images[i].tobytes(), digest_size=16).digest() for i in indices]
        for name, indices in parts.items()
    }
    counts = {
        f"{first}-{second}": sum(map(set(digests[first]).__contains__, digests[second]))
        for first, second in combinations(parts, 2)
    }
    return {pair: count for pair, count in counts.items() if count}


def pixel_statistics(images: np.ndarray) -> dict[str, list[float] | float]:
    """Return mean and standard deviation of the pixels in [-1, 1], whole and per channel."""
    levels = np.stack(
        [np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])]
    )
    value = np.arange(256) / 127.5 - 1.0

    def moments(count: np.ndarray) -> tuple[float, float]:
        mean = float(count @ value / count.sum())
        return mean, float(np.sqrt(count @ (value - mean) ** 2 / count.sum()))

    mean, std = moments(levels.sum(axis=0))
    channels = [moments(count) for count in levels]
    return {
        "mean": mean,
        "std": std,
        "channel_mean": [m for m, _ in channels],
        "channel_std": [s for _, s in channels],
    }


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write one split atomically; equal arrays give equal bytes.

    Raises StageError naming the file where it cannot be written.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise StageError(f"cannot write {path}: {error.strerror or error}") from None


def describe_split(raw: Raw, indices: np.ndarray, path: Path) -> dict[str, Any]:
    """Return a split's entry in the manifest: size, sha256 of its file, images per class."""
    labels = raw.labels[indices]
    counts = np.bincount(labels[labels >= 0], minlength=len(raw.classes))
    return {"size": len(indices), "sha256": digest(path), "class_counts": counts.tolist()}


def describe_pairs(
    raw: RawPairs, parts: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """Return what the manifest says of pairs beyond their targets."""
    return {
        "pairs": "aligned" if raw.relation == "aligned" else "unaligned",
        "input_kind": "labels" if raw.input_classes else "image",
        "input_classes": raw.input_classes,
        "input_shape": list(raw.inputs.images.shape[1:]),
        "input_sha256": raw.inputs.sha256,
        "input_splits": {name: len(inputs) for name, (inputs, _) in parts.items()},
    }


def prepare(settings: DataPrepareSettings, job: Job) -> None:
    """Write train, search, validation and report as .npz and manifest.json.

    The files hold `images` and `labels`, and for pairs `inputs` and `input_labels`. Raises
    StageError naming a source that cannot be read, fetched or split.
    """
    sizes = {name: getattr(settings, name) for name in SPLITS if name != "train"}

    def publish(what: str, done: int, total: int | None) -> None:
        job.progress(what=what, step=done, steps=total)

    try:
        with Reporter(publish=publish, poll=job.stop_if_asked) as report:
            found = read_source(settings.source, report)
        pairs = found if isinstance(found, RawPairs) else None
        raw = found.targets if isinstance(found, RawPairs) else found
        both = {} if pairs is None else split_pairs(pairs, sizes, seed=settings.split_seed)
        parts = {name: targets for name, (_, targets) in both.items()} or split_indices(
            raw.labels, sizes, seed=settings.split_seed, test=raw.test
        )
    except DataError as error:
        kind = PassingError if isinstance(error, FetchError) else StageError
        raise kind(f"{job.stage}: {error}") from None
    for name, indices in parts.items():
        arrays = {"images": raw.images[indices], "labels": raw.labels[indices]}
        if pairs is not None:
            own, sources = both[name][0], pairs.inputs
            arrays |= {"inputs": sources.images[own], "input_labels": sources.labels[own]}
            if not len(own) or not len(indices):
                raise StageError(f"{job.stage}: split {name} has images on one side only")
        write_arrays(job.out / f"{name}.npz", arrays)
    manifest = {
        # A mirror is where this machine looked, not what it found: the sha256 says that.
        "source": settings.source.model_dump(mode="json", exclude={"mirror"}) | raw.notes,
        "source_sha256": raw.sha256,
        "split_seed": settings.split_seed,
        "shape": list(raw.images.shape[1:]),
        "num_classes": len(raw.classes),
        "classes": list(raw.classes),
        "splits": {n: describe_split(raw, i, job.out / f"{n}.npz") for n, i in parts.items()},
        "unused": len(raw.images) - sum(map(len, parts.values())),
        "duplicates_across_splits": duplicates_across(raw.images, parts),
        "train_pixels": pixel_statistics(raw.images[parts["train"]]),
        **({} if pairs is None else describe_pairs(pairs, both)),
    }
    write_json(job.out / "manifest.json", manifest)
    summary = ", ".join(f"{name} {len(indices)}" for name, indices in parts.items())
    print(
        f"{job.stage}: {summary} images of {'x'.join(map(str, raw.images.shape[1:]))}",
        file=sys.stderr,
    )
