"""Every trained stage survives SIGKILL at any moment and ends with the bits of an undisturbed run.

Each stage runs through its real command line in a forked process (forked, so that the imports are
paid once). The undisturbed twin works in a folder of its own and must have started at step 0.
"""

import json
import multiprocessing
import random
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from slimgen.data.files import digest

FORK = multiprocessing.get_context("fork")
KILLS = 4
UNET = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "attention": [False, False],
    "mid_attention": False,
    "norm_num_groups": 4,
    "dropout": 0.1,
}
GAN = {
    "z_dim": 8,
    "generator_width": 8,
    "discriminator_width": 8,
    "n_critic": 2,
    "generator_batch": 8,
    "flip": True,
}
EVERY_STEP = {"checkpoint_seconds": 0, "log_every": 5, "batch_size": 16}


@dataclass
class Stage:
    """A stage with its settings and inputs (names of finished stages or files in them)."""

    name: str
    settings: dict
    inputs: dict = field(default_factory=dict)
    trained: bool = True


STAGES = {
    "data": Stage("data.prepare", {}, trained=False),
    "classifier": Stage(
        "classifier.train", {**EVERY_STEP, "steps": 60, "channels": [8, 8]}, {"data": "data"}
    ),
    "teacher": Stage(
        "teacher.train",
        {
            **EVERY_STEP,
            "steps": 60,
            "network": UNET,
            "schedule": {"betas": "cosine", "num_train_timesteps": 50},
            "optimizer": {"lr": 2e-3, "warmup": 5, "clip_norm": 1.0},
        },
        {"data": "data"},
    ),
    "supernet": Stage(
        "dbnas.supernet", {**EVERY_STEP, "steps": 40}, {"teacher": "teacher", "data": "data"}
    ),
    "search": Stage(
        "dbnas.search",
        {"r": 3.0, "num_images": 16},
        {"supernet": "supernet", "teacher": "teacher", "data": "data"},
        trained=False,
    ),
    "dbnas_student": Stage(
        "dbnas.student",
        {**EVERY_STEP, "steps": 40, "search": "S1"},
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
        {**EVERY_STEP, "steps": 60, "test_every": 10},
        {"pairs": "pairs", "teacher": "teacher"},
    ),
    "reward": Stage(
        "classifier.train",
        {**EVERY_STEP, "steps": 60, "channels": [8, 8], "images": "reward"},
        {"data": "data"},
    ),
    # Two cells, so that stages, beams and controllers change on the way; a GAN is begun anew
    # whenever its window is full.
    "autogan_search": Stage(
        "autogan.search",
        {
            **EVERY_STEP,
            **GAN,
            "steps": 4,
            "u_stage": 2,
            "cells": 2,
            "bottom_width": 2,
            "gan_steps": 6,
            "controller_steps": 4,
            "controller_batch": 2,
            "hidden": 8,
            "reset": {"window": 8, "threshold": 1e9},
            "candidates": 4,
            "beams": 2,
            "reward_images": 40,
            "reward_batch": 20,
            "is_splits": 2,
            "calibration_batches": 1,
        },
        {"data": "data", "reward_classifier": "reward"},
    ),
    "autogan_student": Stage(
        "autogan.student",
        {**EVERY_STEP, **GAN, "steps": 20, "top_k": 2, "selection_images": 40, "is_splits": 2},
        {"data": "data", "reward_classifier": "reward", "arch": "autogan_search/arch.json"},
    ),
    "autogan_transfer": Stage(
        "autogan.transfer",
        {**EVERY_STEP, **GAN, "steps": 40},
        {"data": "data", "model": "autogan_student"},
    ),
    "act": Stage(
        "act.student",
        {
            **EVERY_STEP,
            "preset": "demo",
            "steps": 40,
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
}


def child(argv, log):
    sys.argv = ["slimgen", *argv]
    torch.set_num_threads(1)
    with Path(log).open("a") as file:
        sys.stdout = sys.stderr = file
        from slimgen.__main__ import main

        main()


def start(folder, key, results, runs):
    stage = STAGES[key]
    argv = [stage.name, "--settings", json.dumps(stage.settings), "--seed", "5"]
    argv += ["--device", "cpu", "--out", str(results / key), "--state", str(runs / key)]
    for name, source in stage.inputs.items():
        argv += [f"--{name}", str(folder / "results" / source)]
    log = folder / f"{results.name}-{key}.log"
    process = FORK.Process(target=child, args=(argv, log))
    process.start()
    return process, log


def finish(folder, key, results, runs):
    process, log = start(folder, key, results, runs)
    process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    return log.read_text()


def outputs(folder):
    """Digests of everything that must not depend on interruptions (logs hold times)."""
    kept = [p for p in folder.rglob("*") if p.is_file() and "tfevents" not in p.name]
    return {str(p.relative_to(folder)): digest(p) for p in kept if p.name != "log.jsonl"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The undisturbed run of every stage, in its own folder."""
    folder = tmp_path_factory.mktemp("chain")
    logs = {key: finish(folder, key, folder / "results", folder / "runs") for key in STAGES}
    return folder, logs


@pytest.mark.parametrize("key", [key for key, stage in STAGES.items() if stage.trained])
def test_killed_at_random_moments_ends_bit_identical(finished, key):
    folder, logs = finished
    results, runs = folder / "results-killed", folder / "runs-killed"
    rng = random.Random(key)
    kills = 0
    for _ in range(10 * KILLS):
        process, _ = start(folder, key, results, runs)
        wait_for_state(process, runs / key)
        process.join(rng.uniform(0.0, 0.3))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        if kills == KILLS:
            break
    text = finish(folder, key, results, runs)
    assert kills > 0
    if key != "pairs":  # pairs are resumed by the shard
        assert [int(n) for n in re.findall(r"starting at step (\d+)", logs[key])] == [0]
        assert max(int(n) for n in re.findall(r"resumed at step (\d+)", text)) > 0
    assert outputs(results / key) == outputs(folder / "results" / key)
    assert not (runs / key).exists()


def wait_for_state(process, state):
    """Return when the run has something to lose (a checkpoint or a shard), or has ended."""
    while process.is_alive():
        if state.exists() and (
            list(state.glob("last.safetensors")) or list(state.rglob("shard-*.npz"))
        ):
            return
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("key", "name"), [("teacher", "SIGTERM"), ("act", "SIGUSR1"), ("pairs", "SIGINT")]
)
def test_a_signal_saves_and_stops_within_seconds_with_code_75(finished, key, name):
    folder, _ = finished
    results, runs = folder / f"results-{name}", folder / f"runs-{name}"
    process, log = start(folder, key, results, runs)
    wait_for_state(process, runs / key)
    asked = time.monotonic()
    import os

    os.kill(process.pid, getattr(signal, name))
    process.join(20)
    assert process.exitcode == 75, log.read_text()[-2000:]
    assert time.monotonic() - asked < 10
    assert f"stopped ({name})" in log.read_text()
    finish(folder, key, results, runs)
    assert outputs(results / key) == outputs(folder / "results" / key)


def test_a_spent_time_budget_saves_and_stops(finished):
    folder, _ = finished
    results, runs = folder / "results-budget", folder / "runs-budget"
    stage = STAGES["teacher"]
    argv = [stage.name, "--settings", json.dumps(stage.settings), "--seed", "5"]
    argv += ["--out", str(results / "teacher"), "--state", str(runs / "teacher")]
    argv += ["--data", str(folder / "results" / "data"), "--device", "cpu"]
    log = folder / "budget.log"
    process = FORK.Process(target=child, args=([*argv, "--budget-minutes", "0.005"], log))
    process.start()
    process.join()
    assert process.exitcode == 75, log.read_text()
    assert "the time budget is spent" in log.read_text()
    finish(folder, "teacher", results, runs)
    assert outputs(results / "teacher") == outputs(folder / "results" / "teacher")


def test_changed_settings_never_resume_an_old_run(finished):
    folder, _ = finished
    results, runs = folder / "results-changed", folder / "runs-changed"
    process, _ = start(folder, "teacher", results, runs)
    wait_for_state(process, runs / "teacher")
    process.kill()
    process.join()
    old = STAGES["teacher"]
    try:
        STAGES["teacher"] = Stage(old.name, {**old.settings, "steps": 61}, old.inputs)
        log = folder / f"{results.name}-teacher.log"
        log.unlink()
        text = finish(folder, "teacher", results, runs)
    finally:
        STAGES["teacher"] = old
    assert "starting at step 0 of 61" in text
