"""What SLURM says, read; requests that it never grants, named; growth from attempt to attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimgen.tracking import slurm_check, slurm_queue
from slimgen.tracking.slurm_check import (
    Nodes,
    SlurmError,
    check_slurm,
    count_gpus,
    grown,
    impossible,
    parse_minutes,
    read_nodes,
    request_of,
    status_fault,
)
from slimgen.tracking.slurm_queue import queue_notes
from slimgen.tracking.slurm_site import ON_GPU, read_site

# Kinds of nodes as `sinfo --exact` prints them.
SINFO = """cpu*|1-00:00:00|256000|64|(null)|up
gpu|2-00:00:00|512000|32|gpu:a100:4(S:0-1)|up
gpu|2-00:00:00|1024000|64|gpu:h100:2,nvme:1|up
old|infinite|64000|16|gpu:8|down
"""
CONFIG = "AccountingStorageType   = accounting_storage/{}\nMinJobAge               = {} sec\n"


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[Nodes]:
    monkeypatch.setattr(slurm_check, "ask", lambda *command: SINFO)
    return read_nodes()


def test_sinfo_is_read(nodes: list[Nodes]) -> None:
    assert nodes == [
        Nodes("cpu", default=True, minutes=1440, memory=256000, cpus=64, gpus=0),
        Nodes("gpu", default=False, minutes=2880, memory=512000, cpus=32, gpus=4),
        Nodes("gpu", default=False, minutes=2880, memory=1024000, cpus=64, gpus=2),
    ]


@pytest.mark.parametrize(
    ("gres", "number"),
    [("(null)", 0), ("gpu:4", 4), ("gpu", 1), ("gpu:a100", 1), ("gpu:a:2,gpu:b:3(S:0)", 5)],
)  # fmt: skip
def test_gpus_are_counted(gres: str, number: int) -> None:
    assert count_gpus(gres) == number


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("30:00", 30), ("10:00:00", 600), ("1-12:30:00", 2190), ("infinite", float("inf"))],
)
def test_time_limits_are_read(limit: str, minutes: float) -> None:
    assert parse_minutes(limit) == minutes


GPU = {"slurm_partition": "gpu", "runtime": 60}


@pytest.mark.parametrize(
    ("resources", "fault"),
    [
        ({"mem_mb": 256000, "runtime": 1440}, None),
        ({"gpu": 1}, "r asks for 1 GPUs; the most in partition cpu is 0; "),
        (GPU | {"gpu": 4, "mem_mb": 512000}, None),
        (GPU | {"gres": "gpu:h100:5"}, "r asks for 5 GPUs; the most in partition gpu is 4; "),
        (GPU | {"mem_mb": 2000000}, "r asks for 2e+06 MB of memory; the most in partition gpu is "),
        (GPU | {"gpu": 4, "cpus_per_gpu": 17}, "r asks for 68 CPUs; the most in partition gpu is "),
        (GPU | {"gpu": 4, "mem_mb": 600000}, "no node of partition gpu has what r asks for togeth"),
        (
            GPU | {"runtime": 2881},
            "r asks for 2881 minutes; the most in partition gpu is 2880; set",
        ),
        ({"slurm_partition": "old"}, "no partition old; there are: cpu, gpu; set `partition` in "),
        ({"slurm_partition": "cpu,gpu", "gpu": 4}, None),
    ],
)
def test_impossible_requests_are_named(
    nodes: list[Nodes], resources: dict[str, object], fault: str | None
) -> None:
    said = impossible(request_of("r", 1, resources), nodes)
    assert said is None if fault is None else str(said).startswith(f"slurm: {fault}")


@pytest.mark.parametrize(
    ("command", "accounting", "age", "fault"),
    [
        ("squeue", "none", 300, None),
        ("squeue", "slurmdbd", 300, None),
        ("sacct", "slurmdbd", 2, None),
        ("sacct", "none", 300, "sacct has no accounting"),
        ("squeue", "none", 60, "its administrator must raise MinJobAge"),
        ("squeue", "slurmdbd", 60, "use sacct instead"),
    ],
)
def test_a_status_command_that_would_wait_for_ever_is_named(
    command: str, accounting: str, age: int, fault: str | None
) -> None:
    said = status_fault(command, CONFIG.format(accounting, age))
    assert said is None if fault is None else fault in str(said)


def test_the_first_fault_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"sinfo": SINFO, "scontrol": CONFIG.format("none", 300)}
    monkeypatch.setattr(slurm_check, "ask", lambda *command: said[command[0]])
    check_slurm([request_of("r", 1, {})], "squeue")
    with pytest.raises(SlurmError, match="r asks for 65 CPUs"):
        check_slurm([request_of("q", 64, {}), request_of("r", 65, {})], "squeue")


def test_a_python_that_no_script_of_a_job_can_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"sinfo": SINFO, "scontrol": CONFIG.format("none", 300)}
    monkeypatch.setattr(slurm_check, "ask", lambda *command: said[command[0]])
    monkeypatch.setattr(slurm_check.sys, "executable", "/home/me/my runs/.venv/bin/python")
    with pytest.raises(SlurmError, match=r"cannot start /home/me/my runs/\.venv/bin/python: clone"):
        check_slurm([], "squeue")


def test_without_slurm_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SlurmError, match="there is no sinfo on this machine"):
        check_slurm([], "squeue")


def test_amounts_grow_with_the_attempt_up_to_three_times_or_the_largest_node() -> None:
    assert [grown(100, attempt) for attempt in (1, 2, 3, 5, 20)] == [100, 150, 200, 300, 300]
    assert [grown(100, attempt, 180) for attempt in (1, 2, 3)] == [100, 150, 180]
    assert grown(100, 3, 50) == 100


def test_a_site_file_becomes_resources(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "account: me\npartition: max\nminutes: 600\ngroup: 4\ngpus: 0\n"
        "rules: {teacher_train: {constraint: 'a&b', gpu: 4}, evaluation_measure: {runtime: 9}}"
    )
    site = read_site(path)
    # `max` is also a function of Python: Snakemake would evaluate it.
    assert site.defaults == {
        "slurm_account": "'me'",
        "slurm_partition": "'max'",
        "slurm_extra": "'--signal=TERM@120'",
    }
    assert site.limits == {"runtime": 600, "in_turn": 1}
    assert site.rules == {rule: {"gpu": 0} for rule in ON_GPU} | {
        "evaluation_measure": {"in_turn": 1, "runtime": 9, "gpu": 0},
        "evaluation_translate": {"in_turn": 1, "runtime": 150, "gpu": 0},
        "teacher_train": {"constraint": "'a&b'", "gpu": 0},
    }
    path.write_text("group: 4\nminutes: 600")
    share = {"in_turn": 1, "runtime": 150}
    assert read_site(path).rules == {"evaluation_measure": share, "evaluation_translate": share}
    path.write_text("minuts: 600")
    with pytest.raises(ValueError, match=r"site.yaml: minuts: Extra inputs are not permitted"):
        read_site(path)
    path.write_text("minutes: [600")
    with pytest.raises(ValueError, match=r"^.*site.yaml: no YAML \(while parsing .*\)$"):
        read_site(path)
    with pytest.raises(ValueError, match=r"nowhere.yaml: No such file"):
        read_site(tmp_path / "nowhere.yaml")


def test_the_site_file_that_comes_with_the_project_states_the_defaults() -> None:
    path = Path(__file__).parents[2] / "workflow" / "profiles" / "slurm" / "site.yaml"
    empty = read_site(Path("/dev/null"))
    assert read_site(path) == empty


LOGGED = "SLURM run ID: abc-1\nBuilding\n"
WARNED = LOGGED + "===== A Job preemption  occured! =====\n"


@pytest.mark.parametrize(
    ("log", "queue", "said"),
    [
        (LOGGED, "7|RUNNING|rule_a\n", None),
        (WARNED, "7|PENDING|rule_a\n", None),  # requeued: it will come back
        (WARNED, "7|PREEMPTED|rule_a_wildcards_0\n8|RUNNING|rule_b\n", "job 7 (a_wildcards_0) was"),
        (WARNED, "", "has forgotten it"),
        (LOGGED, "", None),
    ],
)
def test_jobs_that_never_come_back_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str, queue: str, said: str | None
) -> None:
    monkeypatch.setattr(slurm_queue, "ask", lambda *command: queue)
    logs, locks = tmp_path / ".snakemake" / "log", tmp_path / ".snakemake" / "locks"
    logs.mkdir(parents=True)
    (logs / "1.snakemake.log").write_text(log)
    (logs / "2.snakemake.log").write_text("a report\n")
    assert queue_notes(tmp_path) == []  # no Snakemake is under way
    locks.mkdir()
    (locks / "0.input.lock").touch()
    notes = queue_notes(tmp_path)
    assert notes == [] if said is None else said in notes[0]
