"""What SLURM can grant, and what no node of it ever will: asked before the first job.

SLURM takes an impossible request and lets it wait for ever. `sinfo` says what there is; every
planned job is compared with it, and the first that cannot run is named in one line.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

SITE = "profiles/slurm/site.yaml"
UNITS = (
    ("GPUs", "gpu"),
    ("MB of memory", "mem_mb"),
    ("CPUs", "cpus_per_task"),
    ("minutes", "runtime"),
)
SHORTEST_MEMORY = 200  # seconds; the longest pause between two looks at the queue is 180


class SlurmError(Exception):
    """SLURM does not answer, or cannot do what is asked; the message is one line."""


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in one partition: what each has, and the longest time of a job there."""

    partition: str
    default: bool
    minutes: float
    memory: int
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Request:
    """What one job asks of one node (MB, minutes); `partition` None is the default partition."""

    rule: str
    partition: str | None
    memory: int
    cpus: int
    gpus: int
    minutes: float


def ask(*command: str) -> str:
    """Return what a command of SLURM prints.

    Raises SlurmError where there is none or no controller answers.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise SlurmError(f"slurm: there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"slurm: {command[0]} does not answer") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise SlurmError(f"slurm: {command[0]} does not answer: {said}")
    return done.stdout


def read_nodes() -> list[Nodes]:
    """Return the kinds of nodes of every partition that is up."""
    lines = ask("sinfo", "--noheader", "--exact", "--format=%P|%l|%m|%c|%G|%a").splitlines()
    fields = [line.strip().split("|") for line in lines]
    return [
        Nodes(
            partition=partition.rstrip("*"),
            default=partition.endswith("*"),
            minutes=parse_minutes(limit),
            memory=int(memory),
            cpus=int(cpus),
            gpus=count_gpus(gres),
        )
        for partition, limit, memory, cpus, gres, state in fields
        if state == "up"
    ]


def parse_minutes(limit: str) -> float:
    """Return a time limit of sinfo (`infinite`, `2-00:00:00`, `10:00:00`, `30:00`) in minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:  # infinite, n/a
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def count_gpus(gres: str) -> int:
    """Return the GPUs in a list of generic resources: `gpu:a100:4(S:0-1),ssd:2` has 4."""
    plain = re.sub(r"\([^)]*\)", "", gres)
    counts = re.findall(r"(?:^|,)gpu(?::[^:,]+)??(?::(\d+))?(?=,|$)", plain)
    return sum(int(count or 1) for count in counts)


def request_of(rule: str, threads: int, resources: Mapping[str, Any]) -> Request:
    """Return what a job with these resources of Snakemake asks of a node."""
    gpus = resources.get("gpu") or count_gpus(str(resources.get("gres") or ""))
    cpus = resources.get("cpus_per_task") or threads
    if gpus and resources.get("cpus_per_gpu"):
        cpus = gpus * resources["cpus_per_gpu"]
    return Request(
        rule=rule,
        partition=resources.get("slurm_partition"),
        memory=resources.get("mem_mb") or cpus * (resources.get("mem_mb_per_cpu") or 0),
        cpus=cpus,
        gpus=gpus,
        minutes=resources.get("runtime") or 0,
    )


def impossible(request: Request, nodes: list[Nodes]) -> str | None:
    """Return why no node of the request's partition can ever run it, or None."""
    names = request.partition.split(",") if request.partition else []
    here = [kind for kind in nodes if (kind.partition in names if names else kind.default)]
    if not here:
        there = ", ".join(sorted({kind.partition for kind in nodes})) or "none"
        wanted = f"no partition {request.partition}" if names else "no default partition"
        return f"slurm: {wanted}; there are: {there}; set `partition` in {SITE}"
    where = f"partition {'/'.join(sorted({kind.partition for kind in here}))}"
    kinds = [(kind.gpus, kind.memory, kind.cpus, kind.minutes) for kind in here]
    asked = (request.gpus, request.memory, request.cpus, request.minutes)
    for (what, key), amount, granted in zip(UNITS, asked, zip(*kinds, strict=True), strict=True):
        if amount > max(granted):
            mend = "set `minutes`" if key == "runtime" else f"set `rules: {request.rule}: {key}`"
            mend += " or `gpus`" if key == "gpu" else ""
            return (
                f"slurm: {request.rule} asks for {amount:g} {what}; "
                f"the most in {where} is {max(granted):g}; {mend} in {SITE}"
            )
    if any(all(a <= b for a, b in zip(asked, kind, strict=True)) for kind in kinds):
        return None
    together = ", ".join(f"{a:g} {what}" for a, (what, _) in zip(asked, UNITS, strict=True))
    return f"slurm: no node of {where} has what {request.rule} asks for together: {together}"


def status_fault(status_command: str, config: str) -> str | None:
    """Return why Snakemake would never see a job end, or None.

    `config` is the output of `scontrol show config`. squeue must remember ended jobs for longer
    than Snakemake looks away; sacct needs accounting.
    """
    accounting = re.search(r"^AccountingStorageType\s*=\s*(\S+)", config, re.M)
    none = accounting is None or accounting[1].endswith(("none", "(null)"))
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", config, re.M)
    if status_command == "sacct" and none:
        return "slurm: sacct has no accounting to read here: set slurm-status-command: squeue"
    if status_command == "squeue" and age is not None and int(age[1]) < SHORTEST_MEMORY:
        mend = "its administrator must raise MinJobAge" if none else "use sacct instead"
        return (
            f"slurm: squeue forgets ended jobs after {age[1]} s, Snakemake would wait for ever: "
            f"{mend} (slurm-status-command in profiles/slurm/config.yaml)"
        )
    return None


def path_fault(python: str) -> str | None:
    """Return why no job could start this Python: its path goes into their scripts unquoted."""
    if shlex.quote(python) == python:
        return None
    return f"slurm: jobs cannot start {python}: clone into a path without spaces or quotes"


def check_slurm(requests: Iterable[Request], status_command: str) -> None:
    """Compare every request with what the cluster has.

    Raises SlurmError naming the first that no node can ever run, or why no job would start or seem
    to end.
    """
    nodes = read_nodes()
    faults = [path_fault(sys.executable)]
    faults += [status_fault(status_command, ask("scontrol", "show", "config"))]
    faults += [impossible(request, nodes) for request in dict.fromkeys(requests)]
    for fault in faults:
        if fault is not None:
            raise SlurmError(fault)


def grown(amount: int, attempt: int, most: int | None = None) -> int:
    """Return what the next attempt asks for: half as much again each time, three times at most.

    Never more than `most` grants, never less than the first attempt asked for.
    """
    wanted = min(amount + amount * (attempt - 1) // 2, 3 * amount)
    return wanted if most is None else max(amount, min(wanted, most))


@cache
def largest_memory() -> int | None:
    """Return the memory in MB of the largest node, or None where no SLURM answers."""
    try:
        return max((kind.memory for kind in read_nodes()), default=None)
    except SlurmError:
        return None
