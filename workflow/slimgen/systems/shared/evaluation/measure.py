"""Stage evaluation.measure: every number about one model and one seed, each as a record.

One process loads model, reference and feature network once and measures all samplers. Image i of a
seed starts from the same noise in every model. A sampler that is done is not repeated after a stop.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slimgen.config.base import Sampling
from slimgen.config.sampler_names import parse_sampler
from slimgen.config.shared import MeasureSettings
from slimgen.data.files import atomic_path, digest
from slimgen.diffusion.denoiser import ConsistencyProcess, DiffusionProcess, Process
from slimgen.diffusion.sampling import generate, nfe_of
from slimgen.diffusion.saved import SavedModel, load_model
from slimgen.evaluation.complexity import count_macs, count_params
from slimgen.evaluation.feature_network import FeatureNetwork
from slimgen.evaluation.generation import stream
from slimgen.evaluation.grid import save_grid
from slimgen.evaluation.latency import measure_latency
from slimgen.evaluation.record import (
    SHOWN,
    Record,
    find,
    metric_name,
    read_records,
    write_records,
)
from slimgen.evaluation.reference import Reference, load_reference, open_reference_network
from slimgen.evaluation.scoring import MakeRecord, check_enough, score_records
from slimgen.networks.stored import WEIGHTS
from slimgen.training.job import Job, StageError
from slimgen.training.precision import Compute, resolve


def samplers_of(process: Process, settings: MeasureSettings) -> list[str]:
    """Return the names of the samplers that a model is measured with."""
    if process.kind in ("one_step", "gan"):
        return ["one-step"]
    if isinstance(process, ConsistencyProcess):
        return [f"consistency-{nfe}" for nfe in settings.consistency_steps]
    return list(settings.samplers)


def sampler_fields(name: str, settings: Sampling, process: Process) -> dict[str, Any]:
    """Return what a record says about its sampler: name, nfe, spacing, eta.

    Raises ValueError for a sampler that cannot run on the model's schedule.
    """
    kind = parse_sampler(name)[0]
    schedule = process.schedule if isinstance(process, DiffusionProcess) else None
    spacing = {
        "ddim": settings.spacing,
        "ddpm": "uniform",
        "dpm": settings.dpm_spacing,
        "dpmpp": settings.dpm_spacing,
    }
    return {
        "sampler": name,
        "nfe": nfe_of(name, settings, schedule),
        "spacing": spacing.get(kind),
        "eta": settings.eta if kind == "ddim" else None,
    }


def check_sizes(
    model: SavedModel, folder: Path, settings: MeasureSettings, shape: tuple[int, int, int]
) -> None:
    """Raise ValueError where model and data have other shapes, or images are too few to measure."""
    if (made := model.image_shape) != shape:
        raise ValueError(
            f"{folder}: its images are (channels, height, width) {made}, "
            f"those of the reference {shape}"
        )
    check_enough(settings.num_images, settings, "num_images")


@dataclass(frozen=True)
class Subject:
    """The model that is measured, and how it computes."""

    model: SavedModel
    forward: Any  # the model's network, compiled where that is on
    reference: Reference
    network: FeatureNetwork
    compute: Compute
    record: MakeRecord  # knows seed, device, dtype, code, digests of the model

    def generate(
        self, name: str, settings: Sampling, seed: int, start: int, count: int
    ) -> torch.Tensor:
        """Return images start .. start + count - 1 of a sampler, floats around [-1, 1]."""
        return generate(
            replace(self.model, network=self.forward),
            name,
            settings,
            seed=seed,
            start=start,
            count=count,
            shape=self.reference.shape,
            device=self.compute.device,
            autocast=self.compute.autocast,
        )


def size_records(subject: Subject, settings: MeasureSettings) -> list[Record]:
    """Return params, MACs and latency of one network evaluation."""
    start = time.monotonic()
    network, compute = subject.model.network, subject.compute
    inputs = partial(subject.model.inputs, shape=subject.reference.shape, device=compute.device)
    macs = count_macs(network, *inputs(1))
    with compute.autocast():
        latency = measure_latency(
            subject.forward,
            inputs(settings.latency_batch),
            repeats=settings.latency_repeats,
            device=compute.device,
        )
    record = partial(subject.record, seconds=round(time.monotonic() - start, 3))
    return [
        record(metric="params", value=float(count_params(network))),
        record(metric="macs", value=float(macs.total)),
        record(metric="macs_conv_linear", value=float(macs.conv_linear)),
        record(
            metric="latency_ms",
            value=latency.median,
            spread=latency.spread,
            batch=latency.batch,
            threads=latency.threads,
        ),
    ]


def measure_sampler(
    subject: Subject,
    settings: MeasureSettings,
    job: Job,
    fields: dict[str, Any],
    progress: tuple[int, int],
) -> list[Record]:
    """Return the records of one sampler, read from the state folder where it is done already.

    Writes the grid of its first images there too.
    """
    name = fields["sampler"]
    done = job.state / f"{name}.json"
    if done.exists():
        return read_records(done)
    start = time.monotonic()
    images = stream(
        job,
        partial(subject.generate, name, settings.sampling, job.seed),
        subject.network,
        num_images=settings.num_images,
        batch_size=settings.batch_size,
        keep=settings.grid**2,
        partial=job.state / f"{name}.npz",
        progress=progress,
    )
    record = partial(subject.record, num_images=settings.num_images, seconds=0.0, **fields)
    records = score_records(
        images, settings, reference=subject.reference, network=subject.network, record=record
    )
    seconds = round(time.monotonic() - start, 3)
    save_grid(job.state / f"{name}.png", images.shown, settings.grid)
    write_records(done, [replace(r, seconds=seconds) for r in records])
    return read_records(done)


def measure(
    settings: MeasureSettings,
    job: Job,
    *,
    model: Path,
    reference: Path,
    classifier: Path | None = None,
) -> None:
    """Write records.json, and samples.png of the sampler with the lowest FID.

    `classifier` is needed where the reference was made with one. Raises StageError where an input
    is missing, damaged or does not fit; Stopped on request.
    """
    compute = resolve(settings.runtime, job.device)
    try:
        compared = load_reference(reference)
        network = open_reference_network(
            compared, classifier, inception_path=settings.inception_path, device=compute.device
        )
        saved = load_model(model, compute.device)
        check_sizes(saved, model, settings, compared.shape)
        names = samplers_of(saved.process, settings)
        samplers = [sampler_fields(name, settings.sampling, saved.process) for name in names]
    except ValueError as error:
        raise StageError(f"{job.stage}: {error}") from None
    compute.place(saved.network)
    weights = (model / "unet" if (model / "unet").is_dir() else model) / WEIGHTS
    record = partial(
        Record,
        seed=job.seed,
        device=job.device,
        dtype=str(compute.dtype).removeprefix("torch."),
        code=job.code,
        model_sha256=digest(weights),
        model_md5=digest(weights, "md5"),
    )
    forward = compute.compiled(saved.network)
    subject = Subject(saved, forward, compared, network, compute, record)
    records, fids = size_records(subject, settings), list[Record]()
    fid, n = metric_name("fid", network.name), settings.num_images
    for i, fields in enumerate(samplers):
        found = measure_sampler(subject, settings, job, fields, (i * n, len(samplers) * n))
        records += found
        fids.append(find(found, fid))
    best = min(fids, key=lambda r: r.value)
    note = SHOWN if best.note is None else f"{best.note}; {SHOWN}"
    records[records.index(best)] = replace(best, note=note)
    with atomic_path(job.out / "samples.png") as temporary:
        shutil.copyfile(job.state / f"{best.sampler}.png", temporary)
    write_records(job.out / "records.json", records)
