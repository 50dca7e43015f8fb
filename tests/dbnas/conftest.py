"""A tiny teacher and data set in the files that the stages read."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slimgen.config.base import Network, NoiseSchedule
from slimgen.diffusion.denoiser import DiffusionProcess
from slimgen.diffusion.saved import save_model
from slimgen.diffusion.schedule import make_schedule
from slimgen.networks.unet import make_unet
from slimgen.training.job import Job
from slimgen.training.precision import Compute

TINY = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "attention": (False, False),
    "mid_attention": False,
    "norm_num_groups": 4,
    "dropout": 0.1,
}


def tiny_unet(**changes):
    """Return a seeded tiny U-Net for 1x8x8 images."""
    torch.manual_seed(5)
    return make_unet(Network(**(TINY | changes)), channels=1, size=8).eval()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return the folders of a tiny teacher (v prediction) and of random images."""
    folder = tmp_path_factory.mktemp("tiny")
    teacher, data = folder / "teacher", folder / "data"
    teacher.mkdir()
    data.mkdir()
    process = DiffusionProcess(make_schedule(NoiseSchedule(betas="cosine")), "v")
    save_model(teacher, tiny_unet(), process)
    rng = np.random.default_rng(0)
    for split, n in {"train": 40, "search": 12, "validation": 4, "report": 4}.items():
        images = rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
        np.savez(data / f"{split}.npz", images=images, labels=np.zeros(n, np.int64))
    (data / "manifest.json").write_text(json.dumps({"num_classes": 1}))

    def only(split):
        """Return a data folder that holds nothing but one split."""
        alone = folder / f"only {split}"
        alone.mkdir(exist_ok=True)
        for name in (f"{split}.npz", "manifest.json"):
            shutil.copy(data / name, alone)
        return alone

    return SimpleNamespace(teacher=teacher, data=data, process=process, only=only)


@pytest.fixture(scope="session")
def plain_teacher(tiny, tmp_path_factory):
    """Return the folder of a teacher without dropout, so that a loss can be worked out again."""
    folder = tmp_path_factory.mktemp("plain")
    save_model(folder, tiny_unet(dropout=0.0), tiny.process)
    return folder


@pytest.fixture
def make_job(tmp_path):
    """Return a maker of jobs, each name with folders of its own."""

    def make(name, seed=3):
        out, state = tmp_path / name / "out", tmp_path / name / "state"
        out.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True, exist_ok=True)
        return Job(stage="dbnas.test", out=out, state=state, seed=seed)

    return make


@pytest.fixture
def stop_at(monkeypatch):
    """Make a job ask to stop during a given step."""

    def install(job, step):
        from slimgen.training import loop

        real = loop.make_rng

        def make_rng(seed, at, stream, device="cpu"):
            if stream == "update" and at == step:
                job.signal_name = "SIGTERM"
            return real(seed, at, stream, device)

        monkeypatch.setattr(loop, "make_rng", make_rng)

    return install


@pytest.fixture
def fp16_scales(monkeypatch):
    """Let every gradient scaler start at 1 and double at each step; return what reads them."""
    made = []

    def scaler(_compute):
        made.append(torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=1))
        return made[-1]

    monkeypatch.setattr(Compute, "scaler", scaler)
    return lambda: [scaler.get_scale() for scaler in made]
