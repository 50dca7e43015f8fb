"""What the queue of a SLURM cluster says of the workflow that runs in this folder.

Snakemake's executor waits for ever for a job that SLURM preempted by cancelling it
(PreemptMode=CANCEL, and the job did not end within the grace time): its state is PREEMPTED, and the
executor leaves it to SLURM to start it again. No table of a run shows that, so `status` names it.
"""

from __future__ import annotations

import re
from pathlib import Path

from slimgen.tracking.slurm_check import SlurmError, ask

RUN_ID = re.compile(r"^SLURM run ID: (\S+)", re.M)
WARNING = "A Job preemption"  # what the executor prints once, misspelt from there on
MEND = (
    "Snakemake waits for it for ever; interrupt Snakemake and start it again: the job goes on "
    "from its last checkpoint (docs/cluster.md)"
)


def queue_notes(root: Path = Path()) -> list[str]:
    """Return a line for each job of the workflow under way that SLURM will never start again."""
    if not any((root / ".snakemake" / "locks").glob("*")):
        return []  # no Snakemake waits
    for log in sorted((root / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True):
        text = log.read_text(encoding="utf-8", errors="replace")
        if match := RUN_ID.search(text):
            return _lost_jobs(match[1], warned=WARNING in text)
    return []


def _lost_jobs(run_id: str, *, warned: bool) -> list[str]:
    """Return what squeue says of the jobs with this name."""
    command = ["squeue", "--noheader", "--name", run_id, "--states", "all", "--format", "%i|%T|%k"]
    try:
        lines = ask(*command).splitlines()
    except SlurmError:
        return [f"SLURM preempted a job of this run; if it was cancelled, {MEND}"] if warned else []
    jobs = [line.split("|", 2) for line in lines]
    lost = [(number, name) for number, state, name in jobs if state == "PREEMPTED"]
    if not lost and warned and not any(state in ("PENDING", "RUNNING") for _, state, _ in jobs):
        return [f"SLURM preempted a job of this run and has forgotten it; {MEND}"]
    return [
        f"SLURM job {number} ({name.removeprefix('rule_')}) was preempted and cancelled; {MEND}"
        for number, name in lost
    ]
