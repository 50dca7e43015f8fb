"""Every way in which a cluster takes a job away: nothing is lost, nothing is trained twice.

On a real SLURM one workflow trains a teacher per seed, and each seed meets a fate of its own, all
at the same time. A calm run of the same stages beside SLURM tells which weights must come out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import halting
import pytest
from one_node import PATIENCE, Cluster, details, jobs, slurm, trainer, wait_until

from slimgen.data.files import digest

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

CONFIG = "storm.yaml"
FATES = {
    0: "warned of the time limit",
    1: "preempted and requeued",
    2: "scancel",
    3: "preempted, cancelled with a grace time",
    4: "step killed",
    5: "preempted, cancelled without a grace time; then a node failure",
    6: "time limit",
}
SIGNALLED = (0, 1, 2, 3, 6)
TEACHER = "results/storm/teacher/train/digits/seed{}/diffusion_pytorch_model.safetensors"
CLASSIFIER = "results/storm/classifier/train/digits/seed0/model.safetensors"
PARTITIONS = {"1": "requeued", "3": "cancelled", "5": "killed"}
RESOURCES = [
    f"teacher_train:slurm_partition={PARTITIONS}.get(wildcards.seed, 'steady')",
    "teacher_train:slurm_extra='--signal=TERM@60' if wildcards.seed == '0' else ''",
]
RETRIES = 2
SEEDS = tuple(FATES)
LOST = 5  # the seed that SLURM never starts again
CALM = """
import sys
from slimgen.__main__ import run_stage
for seed in sys.argv[1:]:
    run_stage(["teacher.train", "--config", "storm.yaml", "--variant", "digits", "--seed", seed,
               "--data", "results/storm/data/prepare/digits", "--out", f"calm/seed{seed}"])
"""


@dataclass
class Story:
    """What was seen from outside; steps and jobs by seed."""

    paused: str = ""
    hanging: str = ""
    saved: dict[int, int] = field(default_factory=dict)
    resumed: dict[int, list[int]] = field(default_factory=dict)
    jobs: dict[int, list[dict[str, str]]] = field(default_factory=dict)
    classifier: list[dict[str, str]] = field(default_factory=list)
    after_node_failure: dict[str, str] = field(default_factory=dict)
    second: str = ""
    last: str = ""


def comment(seed: int) -> str:
    return f"rule_teacher_train_wildcards_{seed}"


class Storm:
    """The workflow, its seeds' trainings, and what happens to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.path, self.story = cluster, cluster.checkout.path, Story()
        self.pids: dict[int, int] = {}
        self.orders: dict[int, Path] = {}

    def number(self, seed: int) -> str | None:
        """The job that trains a seed now or did so last."""
        found = jobs().get(comment(seed))
        return found[-1][0] if found else None

    def state(self, seed: int) -> Path:
        return self.path / "runs/storm/teacher/train/digits" / f"seed{seed}"

    def log(self, seed: int) -> str:
        return self.cluster.read(f"logs/storm/teacher/train/digits/seed{seed}.log")

    def is_done(self, seed: int) -> bool:
        return (self.path / TEACHER.format(seed)).with_name("settings.json").exists()

    def wait(self, what: Callable[[], object]) -> None:
        wait_until(what, lambda: self.cluster.read("logs/snakemake.log")[-5000:])

    def halt(self, *seeds: int) -> None:
        """Ask trainings that are still to begin to halt once they have saved."""
        self.orders = {seed: halting.order(self.path, seed) for seed in seeds}

    def wait_until_halted(self) -> None:
        """Wait for the trainings that were asked; note their processes."""

        def all_halted() -> bool:
            for seed in [seed for seed, order in self.orders.items() if not order.exists()]:
                pid = trainer(self.number(seed) or "")
                if pid is not None and is_halted(pid):
                    self.pids[seed] = pid
                    del self.orders[seed]
            return not self.orders

        self.wait(all_halted)

    def go_on(self, seed: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pids.pop(seed), signal.SIGCONT)

    def all_signalled_saved(self) -> bool:
        """Let trainings that were signalled go on; note at which step they saved."""
        for seed in SIGNALLED:
            if seed in self.pids and is_signalled(self.pids[seed]):
                self.go_on(seed)
            if match := re.search(r"SIGTERM: saved at step (\d+)", self.log(seed)):
                self.story.saved.setdefault(seed, int(match[1]))
        return all(seed in self.story.saved for seed in SIGNALLED)

    def limit_time(self, seed: int, *, warned: bool) -> None:
        """Let a running job's time end with the minute that has begun, or be a minute short."""
        number = str(self.number(seed))
        hours, minutes, _ = map(int, details(number)["RunTime"].split(":"))
        limit = 60 * hours + minutes + 1 + warned
        slurm("scontrol", "update", f"jobid={number}", f"timelimit={limit}")

    def preempt(self) -> None:
        """Submit a job that needs the CPUs of the three that can be preempted; wait for that."""
        every = int(slurm("sinfo", "--noheader", "--partition=urgent", "--format=%c"))
        cpus = every - (len(SEEDS) - len(PARTITIONS))
        slurm("sbatch", "--partition=urgent", f"--cpus-per-task={cpus}", "--mem=1",
              "--output=/dev/null", "--wrap=sleep 1")  # fmt: skip
        pids = [self.pids[int(seed)] for seed in PARTITIONS]

        def all_signalled() -> bool:
            self.all_signalled_saved()  # a log is gone once the next attempt begins
            return all(map(is_signalled, pids))

        self.wait(all_signalled)


def is_halted(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    with suppress(OSError):
        return "State:\tT" in Path(f"/proc/{pid}/status").read_text()
    return False


def is_signalled(pid: int) -> bool:
    """Return whether a SIGTERM waits for a halted process, or the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    pending = re.search(r"^ShdPnd:\s*(\w+)", status, re.M)
    return bool(pending and int(pending[1], 16) & (1 << (signal.SIGTERM - 1)))


@pytest.fixture(scope="module")
def storm(cluster: Cluster) -> Storm:
    storm = Storm(cluster)
    cluster.set_site(partition="steady", minutes=5000)
    shutil.copy(halting.__file__, storm.path / "workflow" / "sitecustomize.py")
    stage = ["data.prepare", "--config", CONFIG, "--variant", "digits"]
    cluster.run(*stage, "--out", "results/storm/data/prepare/digits")
    models = [TEACHER.format(seed) for seed in SEEDS]
    options = ["--retries", str(RETRIES), "--set-resources", *RESOURCES]
    storm.halt(*SEEDS)
    cluster.start(*models, CLASSIFIER, *options, name="first")
    storm.wait_until_halted()
    calm = cluster.begin("-c", CALM, *map(str, SEEDS))
    storm.story.paused = cluster.status()
    strike(storm)
    assert calm.wait(PATIENCE) == 0
    cluster.kill_controllers()
    cluster.snakemake("--unlock", "--configfile", CONFIG)
    storm.halt(LOST)
    cluster.start(models[LOST], *options, name="second")
    fail_the_node(storm)
    kill_the_controller(storm, models[LOST], options)
    for seed in SEEDS:
        lines = (storm.path / TEACHER.format(seed)).with_name("log.jsonl").read_text().splitlines()
        events = [line for line in map(json.loads, lines) if line.get("event") == "resumed"]
        storm.story.resumed[seed] = [line["step"] for line in events]
    return storm


def strike(storm: Storm) -> None:
    """Let every seed meet its fate, until all but the lost one are trained."""
    storm.preempt()
    storm.limit_time(0, warned=True)
    storm.limit_time(6, warned=False)
    slurm("scancel", str(storm.number(2)))
    slurm("scancel", "--signal=KILL", f"{storm.number(4)}.0")
    storm.wait(storm.all_signalled_saved)
    rest = [seed for seed in SEEDS if seed != LOST]
    storm.wait(lambda: all(storm.is_done(seed) for seed in rest))
    storm.wait(lambda: len(failed_classifiers()) == RETRIES + 1)
    for seed in SEEDS:
        storm.story.jobs[seed] = [details(number) for number, _ in jobs()[comment(seed)]]
    storm.story.classifier = [details(number) for number, _ in failed_classifiers()]
    storm.story.hanging = storm.cluster.status()
    storm.pids.clear()


def failed_classifiers() -> list[tuple[str, str]]:
    found = jobs().get("rule_classifier_train_wildcards_digits_0", [])
    return [(number, state) for number, state in found if state == "FAILED"]


def fail_the_node(storm: Storm) -> None:
    """The node of a running training goes down, and comes back."""
    storm.wait_until_halted()
    number = storm.number(LOST)
    host = slurm("sinfo", "--noheader", "--format=%n").split()[0]
    slurm("scontrol", "update", f"nodename={host}", "state=down", "reason=test")
    halted = Path("/proc", str(storm.pids[LOST]))
    with suppress(ProcessLookupError):
        os.kill(storm.pids[LOST], signal.SIGKILL)  # what ran on a node dies with it
    storm.wait(lambda: details(str(number))["JobState"] != "RUNNING" and not halted.exists())
    storm.halt(LOST)
    if slurm("sinfo", "--noheader", "--partition=steady", "--format=%t").startswith("down"):
        slurm("scontrol", "update", f"nodename={host}", "state=resume")  # or slurmd did it
    storm.wait_until_halted()
    storm.story.after_node_failure = details(str(number))


def kill_the_controller(storm: Storm, model: str, options: list[str]) -> None:
    """Snakemake dies, its job does not; the next Snakemake submits the same job again."""
    storm.cluster.kill_controllers()
    storm.cluster.snakemake("--unlock", "--configfile", CONFIG)
    third = storm.cluster.start(model, *options, name="third")
    storm.wait(lambda: "another job holds" in storm.log(LOST))
    storm.go_on(LOST)
    assert third.wait(PATIENCE) == 0, storm.cluster.read("third")
    storm.story.second = storm.log(LOST)
    storm.story.last = storm.cluster.read("third")


@pytest.mark.parametrize("seed", SEEDS, ids=list(FATES.values()))
def test_weights_are_those_of_a_calm_run(storm: Storm, seed: int) -> None:
    calm = storm.path / "calm" / f"seed{seed}" / Path(TEACHER).name
    assert digest(storm.path / TEACHER.format(seed)) == digest(calm)


def test_what_a_signal_saved_is_where_the_next_attempt_begins(storm: Storm) -> None:
    story = storm.story
    for seed in SIGNALLED:
        assert story.resumed[seed] == [story.saved[seed]], FATES[seed]
    assert len(story.resumed[4]) == 1  # no signal came: the last periodic checkpoint
    assert story.resumed[4][0] > 0
    # After the preemption and after the node's failure; the third start trained nothing.
    assert len(story.resumed[LOST]) == 2


def test_every_fate_was_met(storm: Storm) -> None:
    def states(seed: int) -> list[str]:
        return [job["JobState"] for job in storm.story.jobs[seed]]

    assert states(0)[:1] == ["FAILED"]  # the stage stopped itself, with code 75, before the limit
    assert states(1) == ["COMPLETED"]  # one job, requeued
    assert storm.story.jobs[1][0]["Restarts"] == "1"
    assert states(2)[0] == "CANCELLED"
    assert states(3)[0] in ("FAILED", "PREEMPTED")
    assert states(4)[0] == "FAILED"
    assert states(LOST) == ["PREEMPTED"]
    assert states(6)[0] == "TIMEOUT"
    assert storm.story.after_node_failure["Restarts"] == "1"


def test_retries_ask_for_more_time_and_memory(storm: Storm) -> None:
    first, second = storm.story.jobs[2][:2]
    assert (first["TimeLimit"], second["TimeLimit"]) == ("2-00:00:00", "3-00:00:00")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("16000M", "24000M")
    assert first["TresPerJob"] == second["TresPerJob"] == "gres:gpu:1"


def test_a_stage_that_failed_for_its_own_reason_repeats_it_at_once(storm: Storm) -> None:
    reason = "classifier.train digits seed 0 failed: classifier.train: loss is nan by step 5"
    assert len(storm.story.classifier) == RETRIES + 1
    assert "an earlier attempt of this run" in storm.cluster.read(
        "logs/storm/classifier/train/digits/seed0.log"
    )
    assert reason in storm.story.hanging
    assert storm.cluster.read("first").count(reason) == 1  # on the first screen of `run`, once


def test_status_tells_step_rate_device_and_checkpoint_of_every_training(storm: Storm) -> None:
    lines = [line for line in storm.story.paused.splitlines() if "/80" in line]
    trainings = [line for line in lines if "running" in line]
    assert len(trainings) == len(SEEDS), storm.story.paused
    for line in trainings:
        assert re.search(
            r"\d+/80 .* \d+ img/s .* \d+:\d\d .* cpu .* step \d+, \d+:\d\d ago", line
        ), line


def test_status_names_the_job_that_slurm_never_starts_again(storm: Storm) -> None:
    lost = storm.story.jobs[LOST][0]["JobId"]
    said = f"SLURM job {lost} (teacher_train_wildcards_{LOST}) was preempted and cancelled"
    assert said in storm.story.hanging
    assert said in storm.cluster.read("first")
    assert "SLURM job" not in storm.story.paused


def test_a_second_start_beside_a_job_that_still_runs_trains_nothing(storm: Storm) -> None:
    """The first Snakemake was killed, its job lived: the copy waits, and takes what that made."""
    assert storm.story.second.count("an earlier start has finished this meanwhile") == 1
    assert "step" not in storm.story.second
    assert "1 jobs in" in storm.story.last
