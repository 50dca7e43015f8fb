"""Takes the place of slimgen/__main__.py in the copied checkouts of the workflow tests.

It writes the files that docs/architecture.md promises for a stage, at once and without torch, so
that the real Snakefile runs and records what it ran; it is no part of the product. STAND_IN_FAILS
names a stage that fails, STAND_IN_WAITS one that publishes progress until a signal stops it.
"""

import json
import os
import sys
import time
from pathlib import Path

MODEL = ["config.json", "diffusion_pytorch_model.safetensors", "process.json"]
TEACHER = [*MODEL, "scheduler_config.json", "log.jsonl"]
SPLITS = ["train.npz", "search.npz", "validation.npz", "report.npz"]
TRANSLATOR = ["config.json", "model.safetensors", "adversary.safetensors", "log.jsonl"]
PROMISED = {
    "data.prepare": [*SPLITS, "manifest.json"],
    "classifier.train": ["config.json", "model.safetensors", "log.jsonl"],
    "teacher.train": TEACHER,
    "evaluation.reference": ["reference.npz", "records.json"],
    "evaluation.measure": ["records.json", "samples.png"],
    "dbnas.supernet": ["supernet.safetensors", "config.json", "log.jsonl"],
    "dbnas.search": ["arch.json", "candidates.csv"],
    "dbnas.student": TEACHER,
    "denoising_student.pairs": ["shard-000.npz", "shard-001.npz", "held_out.npz"],
    "denoising_student.student": [*TEACHER, "interpolation.png"],
    "act.student": [*MODEL, "cost.json", "log.jsonl"],
    "autogan.search": ["arch.json", "candidates.csv", "log.jsonl"],
    "autogan.student": [*MODEL, "selection.json", "log.jsonl"],
    "autogan.transfer": [*MODEL, "log.jsonl"],
    "evaluation.translate": ["records.json", "samples.png", "inputs.png", "targets.png"],
    "gan_compression.teacher": TRANSLATOR,
    "gan_compression.mobile_teacher": TRANSLATOR,
    "gan_compression.pretrain": TRANSLATOR,
    "gan_compression.supernet": [
        "config.json",
        "supernet.safetensors",
        "adversary.safetensors",
        "log.jsonl",
    ],
    "gan_compression.search": ["arch.json", "candidates.csv"],
    "gan_compression.student": TRANSLATOR,
    "gan_compression.export": ["generator.onnx", "export.json"],
}


def read_options(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = options.setdefault(word[2:], [])
        else:
            values.append(word)
    return options


def wait(stage: str, out: Path) -> None:
    """Behave as a training does: hold the lock, publish progress, save and stop on a signal."""
    from slimgen.training.job import EXIT_STOPPED, Job

    state = Path("runs", *out.parts[1:])
    job = Job(stage=stage, out=out, state=state, fingerprint="stand-in")
    job.install_signals()
    with job.locked():
        job.open_state()
        step = 0
        while not job.stop_reason():
            step += 1
            job.progress(step=step, steps=1000, images_per_second=123.0, seconds_left=75.0)
            time.sleep(0.1)
        (state / "saved.json").write_text(json.dumps({"step": step, "why": job.stop_reason()}))
        sys.exit(EXIT_STOPPED)


def run(argv: list[str]) -> None:
    stage, options = argv[0], read_options(argv[1:])
    if os.environ.get("STAND_IN_FAILS") == stage:
        print("step 1\nthe loss is not finite")
        sys.exit(3)
    if stage.startswith("render."):
        from slimgen.tracking.status import page_outputs

        files, out = page_outputs(stage.removeprefix("render.")), Path(options["out"][0])
    else:
        files, out = PROMISED[stage], Path(options["out"][0]).parent
        if os.environ.get("STAND_IN_WAITS") == stage:
            wait(stage, out)
        settings = {"settings": json.loads(options["settings"][0])}
        out.mkdir(parents=True, exist_ok=True)
        (out / "settings.json").write_text(json.dumps(settings))
    for name in files:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(argv))  # another command line, another content


if sys.argv[1] in ("run", "status", "check", "schema"):
    from slimgen.real_main import main

    main()
run(sys.argv[1:])
