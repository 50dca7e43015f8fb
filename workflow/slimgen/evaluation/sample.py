"""`python -m slimgen sample --model FOLDER --out grid.png`: look at what a saved model makes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from slimgen.config.base import Sampling
from slimgen.data.dataset import to_uint8
from slimgen.diffusion.sampling import generate
from slimgen.diffusion.saved import load_model
from slimgen.evaluation.grid import save_grid
from slimgen.networks.stored import read_object
from slimgen.training.job import StageError

DEFAULT_SAMPLERS = {
    "diffusion": "ddim-50",
    "one_step": "one-step",
    "consistency": "consistency-1",
    "gan": "one-step",
}


def sample(argv: list[str], device: str) -> None:
    """Parse the command line, generate images and write them as one PNG.

    Raises StageError where the model cannot be read or the sampler does not fit it.
    """
    parser = argparse.ArgumentParser(prog="python -m slimgen sample", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a saved model")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--sampler", help="ddim-N, ddpm-N, dpm-N, dpmpp-N, one-step, consistency-N")
    parser.add_argument("--num", type=int, default=64, help="number of images")
    parser.add_argument("--seed", type=int, default=0)
    known = parser.parse_args(argv)
    if known.num < 1:
        parser.error(f"--num {known.num}: at least one image")
    try:
        place = known.model / "config.json"
        if place.is_file() and {"class", "generator"} & read_object(place).keys():
            raise ValueError(
                f"{known.model} translates inputs and is not sampled; "
                "its translations are the samples.png of evaluation.translate"
            )
        model = load_model(known.model, device)
        name = known.sampler or DEFAULT_SAMPLERS[model.process.kind]
        with torch.inference_mode():
            images = generate(
                model,
                name,
                Sampling(),
                seed=known.seed,
                start=0,
                count=known.num,
                shape=model.image_shape,
                device=device,
            )
    except ValueError as error:
        raise StageError(f"sample: {error}") from None
    save_grid(known.out, to_uint8(images).cpu(), columns=max(1, round(known.num**0.5)))
    print(f"{known.num} images by {name} from {known.model}: {known.out}")
