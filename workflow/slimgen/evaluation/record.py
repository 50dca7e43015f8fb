"""A number with its provenance: the records that measuring writes and the tables read.

`records.json` is {"schema": 1, "records": [...]}. Metrics and their units:

- `fid`, `inception_score`, `kid`, `precision`, `recall` with Inception features; with features of a
  classifier that the workflow trained they are `fid_classifier`, `is_classifier`, `kid_classifier`,
  `precision_classifier`, `recall_classifier`: the numbers cannot be compared, so the names differ.
- `floor`: FID of the train split against the report split; `fid_gauss`: that of images drawn from a
  Gaussian fitted to the train pixels; `q` = (FID - floor) / (fid_gauss - floor), which no rescaling
  of the features changes; all three with the features that the record names.
- `classifier_accuracy`: share of the report split that the classifier names rightly; `accuracy`:
  share of translated images that it names by the label of their input.
- `psnr` (dB) and `ssim` of translated images against their targets, means over images.
- `params`; `macs` (convolutions, linear layers, attention products) and `macs_conv_linear` (without
  attention products), both of one image; `macs_torchprofile` of a generator by the rule of GAN
  Compression's tool (`complexity.py`), for its published tables; `latency_ms` of one evaluation;
  `generation_seconds` and `images_per_second` of sampling alone.

`sampler` says where the images come from: the name of a sampler, or TRAIN, GAUSSIAN, REPORT,
TRANSLATION. This module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from slimgen.data.files import read_json, write_json

SCHEMA = 1
TRAIN, GAUSSIAN, REPORT, TRANSLATION = "train", "gaussian", "report", "translation"
RANK_DEFICIENT = "rank-deficient: no more images than features"
SHOWN = "shown in samples.png"
SHORT_NAMES = {"inception_score": "is"}
UNNAMED = ("q", "floor", "fid_gauss")  # the record alone says which features they are of


class RecordError(ValueError):
    """A file of records cannot be used; the message names the file, the record and the key."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number; a field that does not apply is None."""

    metric: str
    value: float
    seconds: float  # wall seconds that measuring this number took; shared work counts once
    seed: int
    device: str
    dtype: str
    code: str  # digest of the code that measured
    num_images: int | None = None
    features: str | None = None  # feature network: inception, classifier
    features_sha256: str | None = None
    resize: str | None = None  # how images reach the feature network's input size
    sampler: str | None = None
    nfe: int | None = None  # network evaluations per image
    spacing: str | None = None
    eta: float | None = None
    model_sha256: str | None = None
    model_md5: str | None = None
    batch: int | None = None
    threads: int | None = None
    spread: float | None = (
        None  # latency: interquartile range; IS, KID, PSNR, SSIM: standard deviation
    )
    note: str | None = None


def metric_name(metric: str, features: str) -> str:
    """Return a metric's name for a feature network: `fid` stays `fid` for Inception alone."""
    if features == "inception" or metric in UNNAMED:
        return metric
    return f"{SHORT_NAMES.get(metric, metric)}_{features}"


def find(records: Iterable[Record], metric: str, sampler: str | None = None) -> Record:
    """Return the one record of a metric (and sampler).

    Raises RecordError where there is none, or more than one.
    """
    found = [r for r in records if r.metric == metric and (sampler is None or r.sampler == sampler)]
    if len(found) != 1:
        what = metric if sampler is None else f"{metric} of {sampler}"
        raise RecordError(f"{len(found)} records of {what}; one is needed")
    return found[0]


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write records atomically; fields that are None are left out.

    Raises ValueError where a value is not finite.
    """
    rows = [{k: v for k, v in asdict(record).items() if v is not None} for record in records]
    write_json(path, {"schema": SCHEMA, "records": rows})


def read_records(path: Path) -> list[Record]:
    """Read records strictly: every key known, none missing, every type right.

    Raises RecordError naming file, record and key.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RecordError(f"{path}: not a file of records with schema {SCHEMA}")
    rows = content.get("records")
    if set(content) != {"schema", "records"} or not isinstance(rows, list):
        raise RecordError(f"{path}: it must hold `schema` and a list `records`, nothing else")
    return [_parse(row, f"{path}: record {i}") for i, row in enumerate(rows)]


def _parse(row: Any, where: str) -> Record:
    if not isinstance(row, dict):
        raise RecordError(f"{where}: not an object")
    hints = get_type_hints(Record)
    if unknown := sorted(set(row) - set(hints)):
        raise RecordError(f"{where}: unknown key {unknown[0]!r}")
    required = [field.name for field in fields(Record) if field.default is MISSING]
    if missing := [name for name in required if name not in row]:
        raise RecordError(f"{where}: no {missing[0]!r}")
    values: dict[str, Any] = {}
    for name, value in row.items():
        allowed = get_args(hints[name]) or (hints[name],)
        if float in allowed and type(value) is int:
            value = float(value)
        if type(value) not in allowed or value is None:
            raise RecordError(f"{where}: {name} = {value!r} is not {allowed[0].__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise RecordError(f"{where}: {name} = {value!r} is not finite")
        values[name] = value
    return Record(**values)
