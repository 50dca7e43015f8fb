"""Run by torchrun in several processes: the stages of a JSON file, one after another."""

import json
import sys
from pathlib import Path
from tempfile import mkdtemp

import torch

from slimgen.config.run import parse_settings
from slimgen.stage_command import find_stage
from slimgen.training.job import Job
from slimgen.training.processes import joined, rank, wait

torch.set_num_threads(1)
with joined("cpu") as device:
    for stage, settings, inputs, out in json.loads(Path(sys.argv[1]).read_text()):
        folder = Path(out if rank() == 0 else mkdtemp())
        job = Job(stage, folder, Path(out + ".state"), seed=5, device=device)
        if rank() == 0:
            folder.mkdir(parents=True)
            job.state.mkdir(parents=True)
        wait()
        places = {name: Path(path) for name, path in inputs.items()}
        find_stage(stage)[1](parse_settings(stage, json.dumps(settings)), job, **places)
        wait()
