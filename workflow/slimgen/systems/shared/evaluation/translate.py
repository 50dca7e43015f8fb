"""Stage evaluation.translate: every number about one image-to-image generator and one seed.

Every input of the report split is translated once and rounded to 8 bits, as a PNG would store it.
Scores are those of unconditional models in the reference's features; beside them stand the share of
translations that the classifier names by their input's label, and, where inputs and targets are
aligned, PSNR and (from 11 pixels on) SSIM. A stopped stage goes on with the first input that it has
not translated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from slimgen.config.shared import TranslateSettings
from slimgen.data.files import digest
from slimgen.data.pairs import Pairs, load_pairs
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.evaluation.feature_network import FeatureNetwork
from slimgen.evaluation.fidelity import accuracy
from slimgen.evaluation.generation import Compare, Generated, stream
from slimgen.evaluation.grid import save_grid
from slimgen.evaluation.latency import measure_latency
from slimgen.evaluation.paired import WINDOW, psnr, ssim
from slimgen.evaluation.record import TRANSLATION, Record, write_records
from slimgen.evaluation.reference import Reference, load_reference, open_reference_network
from slimgen.evaluation.scoring import MakeRecord, check_enough, provenance, score_records
from slimgen.networks.translators import WEIGHTS, open_translator
from slimgen.training.job import Job, StageError
from slimgen.training.precision import Compute, resolve


@dataclass(frozen=True)
class Subject:
    """The generator that is measured, what it translates, and how it computes."""

    network: nn.Module  # in eval mode: norms use their running statistics
    pairs: Pairs
    reference: Reference
    features: FeatureNetwork
    compute: Compute
    record: MakeRecord  # knows seed, device, dtype, code, digests of the model

    @torch.no_grad()
    def translate(self, forward: nn.Module, start: int, count: int) -> torch.Tensor:
        """Return the translations of inputs start .. start + count - 1, floats around [-1, 1]."""
        indices = torch.arange(start, start + count)
        with self.compute.autocast():
            images: torch.Tensor = forward(self.pairs.batch_inputs(indices, self.compute.device))
        return images.float()


def check_fit(subject: Subject, model: Path, settings: TranslateSettings) -> None:
    """Raise ValueError where generator, data and reference do not fit, or inputs are too few."""
    check_enough(len(subject.pairs.inputs), settings, "inputs of the report split")
    x = subject.pairs.batch_inputs(torch.arange(1), subject.compute.device)
    try:
        made = tuple(subject.translate(subject.network, 0, 1).shape[1:])
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise ValueError(
            f"{model}: it does not translate inputs of shape {tuple(x.shape[1:])} ({first})"
        ) from None
    if made != subject.reference.shape:
        raise ValueError(
            f"{model}: its images are (channels, height, width) {made}, "
            f"those of the reference {subject.reference.shape}"
        )


def size_records(subject: Subject, forward: nn.Module, settings: TranslateSettings) -> list[Record]:
    """Return params, MACs by both conventions and latency, all with real inputs."""
    start = time.monotonic()
    device, batch = subject.compute.device, min(settings.latency_batch, len(subject.pairs.inputs))
    x = subject.pairs.batch_inputs(torch.arange(batch), device)
    macs = count_macs(subject.network, x[:1])
    with subject.compute.autocast():
        latency = measure_latency(forward, (x,), repeats=settings.latency_repeats, device=device)
    record = partial(subject.record, seconds=round(time.monotonic() - start, 3))
    return [
        record(metric="params", value=float(count_params(subject.network))),
        record(metric="macs", value=float(macs.total)),
        record(metric="macs_torchprofile", value=float(macs.torchprofile)),
        record(
            metric="latency_ms",
            value=latency.median,
            spread=latency.spread,
            batch=latency.batch,
            threads=latency.threads,
        ),
    ]


def comparison(pairs: Pairs) -> Compare | None:
    """Return what gives PSNR and SSIM (n, 2) of translations; None where nothing is aligned.

    PSNR alone (n, 1) where images are smaller than SSIM's window.
    """
    if not pairs.aligned:
        return None
    indices = (psnr, ssim) if min(pairs.targets.shape[-2:]) >= WINDOW else (psnr,)

    def compare(start: int, images: torch.Tensor) -> torch.Tensor:
        targets = pairs.targets[start : start + len(images)].to(images.device)
        return torch.stack([index(images, targets) for index in indices], 1).cpu()

    return compare


def paired_records(images: Generated, subject: Subject, record: MakeRecord) -> list[Record]:
    """Return what needs inputs or targets: accuracy where there are labels, PSNR and SSIM."""
    pairs, network = subject.pairs, subject.features
    records = []
    right = accuracy(network, images.logits, pairs.input_labels, pairs.num_classes)
    if right is not None:
        records.append(record(metric="accuracy", value=right, **provenance(network)))
    for metric, values in zip(("psnr", "ssim"), images.compared.T, strict=False):
        spread = float(values.std())
        records.append(record(metric=metric, value=float(values.mean()), spread=spread))
    return records


def visible_inputs(pairs: Pairs, count: int) -> torch.Tensor:
    """Return the first inputs as images uint8 (n, c, h, w); classes of a label map as greys."""
    inputs = pairs.inputs[:count]
    if pairs.input_kind == "image":
        return inputs
    step = 255 / max(1, pairs.input_classes - 1)
    return (inputs.float() * step).round().to(torch.uint8)


def translate(
    settings: TranslateSettings,
    job: Job,
    *,
    model: Path,
    data: Path,
    reference: Path,
    classifier: Path | None = None,
) -> None:
    """Write records.json and three grids, samples.png, inputs.png, targets.png.

    They show the same items of the report split in the same places; where inputs and targets are
    not aligned, the targets are the first of their own side. `classifier` is needed where the
    reference was made with one. Raises StageError where an input is missing, damaged or does not
    fit; Stopped on request.
    """
    compute = resolve(settings.runtime, job.device)
    try:
        compared = load_reference(reference)
        features = open_reference_network(
            compared, classifier, inception_path=settings.inception_path, device=compute.device
        )
        pairs = load_pairs(data, "report")
        network = open_translator(model, compute.device, build=settings.build).eval()
        compute.place(network)
        record = partial(
            Record,
            seed=job.seed,
            device=job.device,
            dtype=str(compute.dtype).removeprefix("torch."),
            code=job.code,
            model_sha256=digest(model / WEIGHTS),
            model_md5=digest(model / WEIGHTS, "md5"),
        )
        subject = Subject(network, pairs, compared, features, compute, record)
        check_fit(subject, model, settings)
        forward, shown = compute.compiled(network), settings.grid**2
        records = size_records(subject, forward, settings)
    except ValueError as error:
        raise StageError(f"{job.stage}: {error}") from None
    start = time.monotonic()
    images = stream(
        job,
        partial(subject.translate, forward),
        features,
        num_images=len(pairs.inputs),
        batch_size=settings.batch_size,
        keep=shown,
        partial=job.state / "translation.npz",
        progress=(0, len(pairs.inputs)),
        compare=comparison(pairs),
    )
    about = partial(record, sampler=TRANSLATION, nfe=1, num_images=len(pairs.inputs), seconds=0.0)
    scores = score_records(images, settings, reference=compared, network=features, record=about)
    scores += paired_records(images, subject, about)
    seconds = round(time.monotonic() - start, 3)
    save_grid(job.out / "samples.png", images.shown, settings.grid)
    save_grid(job.out / "inputs.png", visible_inputs(pairs, shown), settings.grid)
    save_grid(job.out / "targets.png", pairs.targets[:shown], settings.grid)
    write_records(job.out / "records.json", records + [replace(r, seconds=seconds) for r in scores])
