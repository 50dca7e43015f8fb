"""gan_compression.export: a student as ONNX, which runs without Python, checked against torch.

The file takes any number of images of the data's size. onnxruntime and torch get the same inputs of
the validation split; the largest difference of a pixel stands in export.json.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slimgen.config.gan_compression import ExportSettings
from slimgen.data.files import atomic_path, digest, write_json
from slimgen.evaluation.latency import time_calls
from slimgen.networks.translators import WEIGHTS
from slimgen.systems.gan_compression.artefacts import read_generator, read_pairs
from slimgen.training.job import Job, StageError

ONNX = "generator.onnx"


def write_onnx(network: nn.Module, x: torch.Tensor, path: Path, *, opset: int) -> None:
    """Write a network on the CPU in eval mode as ONNX, `images` (n, c, h, w) to `translations`.

    Raises StageError where torch cannot export it.
    """
    told = io.StringIO()  # the exporter prints its progress
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(told):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (x,),
                dynamo=True,
                opset_version=opset,
                input_names=["images"],
                output_names=["translations"],
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
    except Exception as error:  # torch.onnx raises kinds of its own
        reason = " ".join(str(error).split()[:40])
        raise StageError(f"ONNX: torch cannot export the generator ({reason})") from None
    assert program is not None
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)


def open_session(path: Path) -> Any:
    """Return onnxruntime's session of a file on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def written_opset(path: Path) -> int:
    """Return the version of ONNX's own operators that a file uses."""
    import onnx

    model = onnx.load(str(path))
    return next(
        int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")
    )


@torch.no_grad()
def export(settings: ExportSettings, job: Job, *, data: Path, model: Path) -> None:
    """Write generator.onnx and export.json.

    Raises StageError where the generator cannot be exported, or onnxruntime's images differ from
    torch's by more than `tolerance`.
    """
    pairs = read_pairs(data, "validation")
    network = read_generator(model, pairs, "cpu", build=settings.build)
    x = pairs.batch_inputs(torch.arange(min(settings.num_images, len(pairs))))
    path = job.out / ONNX
    write_onnx(network, x, path, opset=settings.opset)
    session = open_session(path)

    def translate(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(None, {"images": images})[0]
        return found

    images = x.numpy()
    largest = float(np.abs(translate(images) - network(x).numpy()).max())
    if largest > settings.tolerance:
        path.unlink()
        raise StageError(
            f"ONNX: onnxruntime's images differ from torch's by up to {largest:.3g} in [-1, 1], "
            f"more than tolerance = {settings.tolerance:g}"
        )
    first = images[:1]
    latency = time_calls(
        lambda: translate(first),
        batch=1,
        repeats=settings.latency_repeats,
        device=torch.device("cpu"),
    )
    record = {
        "opset": written_opset(path),
        "bytes": path.stat().st_size,
        "sha256": digest(path),
        "model_sha256": digest(model / WEIGHTS),
        "num_images": len(x),
        "largest_difference": largest,
        "tolerance": settings.tolerance,
        "latency_ms": latency.median,
        "latency_spread_ms": latency.spread,
        "latency_threads": 1,
    }
    write_json(job.out / "export.json", record)
