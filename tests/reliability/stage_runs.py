"""Every stage through its real command line, tiny, in forked processes that need no imports."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from slimgen import __main__ as door
from slimgen.data.files import digest
from slimgen.tracking.code_digest import code_digest
from slimgen.tracking.plan import stage_module

FORK = multiprocessing.get_context("fork")
SEED = 5
UNET = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "attention": [False, False],
    "mid_attention": False,
    "norm_num_groups": 4,
    "dropout": 0.1,
}
RESNET = {"ngf": 4, "blocks": 3}
PATCH = {
    "checkpoint_seconds": 0,
    "log_every": 5,
    "batch_size": 4,
    "discriminator": {"ndf": 4, "num_layers": 2},
}
EVERY_STEP = {"checkpoint_seconds": 0, "log_every": 5, "batch_size": 16}
GAN = {
    "checkpoint_seconds": 0,
    "log_every": 5,
    "batch_size": 8,
    "generator_batch": 8,
    "n_critic": 2,
    "z_dim": 5,
    "generator_width": 4,
    "discriminator_width": 4,
}
FEW = {"num_images": 60, "batch_size": 30, "is_splits": 2, "kid_subset_size": 20, "kid_subsets": 2}
TIMES = ("seconds", "images_per_second", "generation_seconds", "latency_ms")


@dataclass(frozen=True)
class Stage:
    """A stage with its settings and inputs (names of finished stages or files in them)."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)


STAGES = {
    "data": Stage("data.prepare"),
    "classifier": Stage(
        "classifier.train",
        {**EVERY_STEP, "steps": 40, "channels": [8, 8], "features": 16},
        {"data": "data"},
    ),
    "teacher": Stage(
        "teacher.train",
        {
            **EVERY_STEP,
            "steps": 30,
            "network": UNET,
            "schedule": {"betas": "cosine", "num_train_timesteps": 50},
            "optimizer": {"lr": 2e-3, "warmup": 5, "clip_norm": 1.0},
        },
        {"data": "data"},
    ),
    "reference": Stage("evaluation.reference", FEW, {"data": "data", "classifier": "classifier"}),
    "measure": Stage(
        "evaluation.measure",
        {**FEW, "samplers": ["ddim-2", "ddim-5"], "latency_repeats": 3, "grid": 2},
        {
            "model": "teacher",
            "reference": "reference/reference.npz",
            "classifier": "classifier",
        },
    ),
    "supernet": Stage(
        "dbnas.supernet",
        {**EVERY_STEP, "steps": 30, "widths": [1.0, 0.5]},
        {"teacher": "teacher", "data": "data"},
    ),
    "search": Stage(
        "dbnas.search",
        {"r": 3.0, "num_images": 16},
        {"supernet": "supernet", "teacher": "teacher", "data": "data"},
    ),
    "dbnas_student": Stage(
        "dbnas.student",
        {**EVERY_STEP, "steps": 30, "search": "S1"},
        {"teacher": "teacher", "data": "data", "arch": "search/arch.json"},
    ),
    "pairs": Stage(
        "denoising_student.pairs",
        {
            "sampler": "ddim-5",
            "sampling": {"spacing": "uniform"},
            "num_pairs": 1200,
            "held_out": 60,
            "shard_size": 60,
            "batch_size": 30,
        },
        {"model": "teacher"},
    ),
    "student": Stage(
        "denoising_student.student",
        {**EVERY_STEP, "steps": 30, "test_every": 10},
        {"pairs": "pairs", "teacher": "teacher"},
    ),
    "act": Stage(
        "act.student",
        {
            **EVERY_STEP,
            "preset": "demo",
            "steps": 30,
            "network": UNET,
            "discriminator": {
                "block_out_channels": [8, 16],
                "layers_per_block": 1,
                "attention": [False, False],
                "norm_num_groups": 4,
            },
            "r1_interval": 4,
            "augment": {"tau": 1e-6, "ada_length": 2000},
        },
        {"data": "data"},
    ),
    "autogan_search": Stage(
        "autogan.search",
        {
            **GAN,
            "cells": 2,
            "bottom_width": 2,
            "steps": 4,
            "u_stage": 2,
            "gan_steps": 3,
            "controller_steps": 2,
            "controller_batch": 2,
            "hidden": 6,
            "reset": {"window": 4, "threshold": 1e9},
            "candidates": 4,
            "beams": 2,
            "reward_images": 12,
            "reward_batch": 12,
            "is_splits": 1,
            "calibration_batches": 1,
        },
        {"data": "data", "reward_classifier": "classifier"},
    ),
    "autogan_student": Stage(
        "autogan.student",
        {**GAN, "steps": 5, "selection_images": 12, "selection_batch": 12, "is_splits": 1},
        {"data": "data", "reward_classifier": "classifier", "arch": "autogan_search/arch.json"},
    ),
    "autogan_transfer": Stage(
        "autogan.transfer", {**GAN, "steps": 15}, {"data": "data", "model": "autogan_student"}
    ),
    "edges": Stage("data.prepare", {"source": {"kind": "digit_pairs"}}),
    "edges_reference": Stage(
        "evaluation.reference", {**FEW, "pool": 2}, {"data": "edges", "classifier": "classifier"}
    ),
    "translator": Stage(
        "gan_compression.teacher", {**PATCH, "steps": 12, "generator": RESNET}, {"data": "edges"}
    ),
    "cyclegan": Stage(
        "gan_compression.teacher",
        {**PATCH, "steps": 8, "generator": RESNET, "task": "unpaired", "pool_size": 4},
        {"data": "edges"},
    ),
    "mobile": Stage(
        "gan_compression.mobile_teacher",
        {**PATCH, "steps": 12, "generator": RESNET},
        {"data": "edges"},
    ),
    "pretrain": Stage(
        "gan_compression.pretrain",
        {**PATCH, "steps": 10, "widths": "3_3_3_3_3_3_3_3"},
        {"data": "edges", "teacher": "mobile"},
    ),
    "widths": Stage(
        "gan_compression.supernet",
        {**PATCH, "steps": 10, "config_set": [[4, 2]] * 8},
        {"data": "edges", "teacher": "translator"},
    ),
    "widths_search": Stage(
        "gan_compression.search",
        {"pool": 2, "budget_ratio": 1.5, "population": 6, "generations": 2},
        {
            "data": "edges",
            "supernet": "widths",
            "teacher": "translator",
            "reward_classifier": "classifier",
        },
    ),
    "compressed": Stage(
        "gan_compression.student",
        {**PATCH, "steps": 10},
        {
            "data": "edges",
            "teacher": "translator",
            "supernet": "widths",
            "arch": "widths_search/arch.json",
        },
    ),
    "export": Stage(
        "gan_compression.export",
        {"num_images": 2, "latency_repeats": 2},
        {"data": "edges", "model": "compressed"},
    ),
    "translate": Stage(
        "evaluation.translate",
        {
            "batch_size": 50,
            "is_splits": 2,
            "kid_subset_size": 20,
            "kid_subsets": 2,
            "latency_repeats": 2,
            "grid": 2,
        },
        {
            "model": "compressed",
            "data": "edges",
            "reference": "edges_reference/reference.npz",
            "classifier": "classifier",
        },
    ),
}
TRAINED = [key for key, stage in STAGES.items() if "checkpoint_seconds" in stage.settings]


def preload() -> None:
    """Do once, before any fork, what each process would: imports, digests of the code."""
    for stage in STAGES.values():
        importlib.import_module(stage_module(stage.name))
        code_digest(stage_module(stage.name))
    for name in ("tensorboardX", "sklearn.datasets", "scipy.linalg", "PIL.Image"):
        importlib.import_module(name)


def in_child(argv: list[str], log: Path, before: Callable[[], None] | None = None) -> None:
    """Run the command line in this (forked) process; what it says goes to `log`."""
    sys.argv = ["slimgen", *argv]
    torch.set_num_threads(1)
    with log.open("a") as file:
        sys.stdout = sys.stderr = file
        if before is not None:
            before()
        door.main()


@dataclass
class Place:
    """Where a stage runs: outputs, states and logs of one attempt, inputs of finished stages."""

    inputs: Path
    folder: Path

    def arguments(self, key: str, **settings: Any) -> list[str]:
        stage = STAGES[key]
        given = json.dumps(stage.settings | settings)
        argv = [stage.name, "--settings", given, "--seed", str(SEED), "--device", "cpu"]
        argv += ["--out", str(self.out(key)), "--state", str(self.state(key))]
        for name, source in stage.inputs.items():
            argv += [f"--{name}", str(self.inputs / source)]
        return argv

    def out(self, key: str) -> Path:
        return self.folder / "results" / key

    def state(self, key: str) -> Path:
        return self.folder / "runs" / key

    def log(self, key: str) -> Path:
        return self.folder / f"{key}.log"

    def start(
        self,
        key: str,
        *options: str,
        before: Callable[[], None] | None = None,
        **settings: Any,
    ) -> Any:
        """Start a stage; `before` runs in its process first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = (self.arguments(key, **settings) + list(options), self.log(key), before)
        process = FORK.Process(target=in_child, args=arguments)
        process.start()
        return process

    def end(self, key: str, *options: str, code: int = 0, **more: Any) -> str:
        """Run a stage to its end; return all that was said here so far."""
        process = self.start(key, *options, **more)
        process.join()
        said = self.log(key).read_text()
        assert process.exitcode == code, said[-3000:]
        return said

    def wait_for_state(self, process: Any, key: str) -> None:
        """Return when the run has something to lose (a checkpoint or a part), or has ended."""
        state = self.state(key)
        while process.is_alive():
            if list(state.glob("last.safetensors")) or list(state.rglob("shard-*.npz")):
                return
            time.sleep(0.002)


def outputs(folder: Path) -> dict[str, Any]:
    """Return what must not depend on interruptions: digests of files, records without times."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if name == "records.json":
            found[name] = [
                {key: value for key, value in record.items() if key != "seconds"}
                for record in json.loads(path.read_text())["records"]
                if record["metric"] not in TIMES
            ]
        elif name == "log.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [
                {key: value for key, value in line.items() if key not in TIMES}
                for line in lines
                if line.get("event") != "resumed"
            ]
        elif name == "export.json":
            record = json.loads(path.read_text())
            found[name] = {key: value for key, value in record.items() if "latency" not in key}
        elif "tfevents" not in name:
            found[name] = digest(path)
    return found
