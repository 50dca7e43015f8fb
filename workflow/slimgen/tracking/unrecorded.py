"""Jobs that ended while no Snakemake looked: their outputs are whole, but nobody recorded them.

A job on a cluster (or below a `kill -9`) outlives its Snakemake. The next one would take the
outputs as they are, for ever blind to later changes of their settings, or make them again. So, at
every start, they are marked as incomplete: Snakemake plans the job, and the job takes back what it
finds finished under its very fingerprint (`training.job`) instead of computing it twice.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from slimgen.data.files import find_below, read_json, write_json
from slimgen.tracking.snakemake_records import HOME, METADATA, read_record, record_path
from slimgen.training.job import DONE, KEPT

EVERY_JOB_HAS = "settings.json"  # one incomplete output makes a job incomplete


def mark_unrecorded(run: str, root: Path = Path()) -> list[Path]:
    """Have Snakemake plan a run's finished but unrecorded jobs; return their output folders.

    Call it before the graph is built and after the time at which jobs count as planned.
    """
    folders = []
    for marker in find_below(root / "runs" / run, DONE):
        folder = Path("results", marker.parent.relative_to(root / "runs"))
        kept = marker.parent / KEPT / EVERY_JOB_HAS
        if kept.exists() and not is_recorded(folder / EVERY_JOB_HAS, kept, root):
            for home in (METADATA, HOME / "incomplete"):
                (root / home).mkdir(parents=True, exist_ok=True)
            path = record_path(str(folder / EVERY_JOB_HAS), root / HOME / "incomplete")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"external_jobid": None}))
            write_json(marker, read_json(marker) | {"time": time.time()})
            folders.append(folder)
    return folders


def is_recorded(output: Path, kept: Path, root: Path) -> bool:
    """Return whether Snakemake's record of an output is of the file that the job left."""
    if not (root / METADATA).is_dir():
        return False
    record = read_record(str(output), root / METADATA) or {}
    return abs((record.get("endtime") or 0.0) - kept.stat().st_mtime) < 1.0
