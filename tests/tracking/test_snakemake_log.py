"""What Snakemake's output says, on output that Snakemake 9.27 wrote."""

from __future__ import annotations

from pathlib import Path

from slimgen.tracking.snakemake_log import SnakemakeLog

BEGIN = """Job stats:
job             count
------------  -------
all                 1
act_student         2
total               3

rule act_student:
    input: results/x/a.npz
    output: results/x/act/student/ct/seed0/config.json
    log: logs/x/act/student/ct/seed0.log
    jobid: 4
    wildcards: variant=ct, seed=0
"""
FINISH = """[Mon Nov 23 00:28:30 2026]
Finished jobid: 4 (Rule: act_student)
1 of 3 steps (33%) done
"""
FAIL = """RuleException:
CalledProcessError in file "/x/rules/act.smk", line 4:
Command 'set -euo pipefail;  python -m slimgen act.student' returned non-zero exit status 75.
[Mon Nov 23 00:28:30 2026]
Error in rule act_student:
    message: None
    jobid: 4
    input: results/x/a.npz
    log: {log} (check log file(s) for error details)
    shell:
        python -m slimgen act.student
        (command exited with non-zero exit code)
"""
UNWRITTEN = """MissingOutputException in rule act_student in file "/x/rules/act.smk", line 4:
Job 4  completed successfully, but some output files are missing. Missing files after 5 seconds.
results/x/cost.json (missing locally, parent dir contents: config.json)
"""


def test_jobs_are_counted_as_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(BEGIN + "1 of 3 st")  # the last line is half written
    log = SnakemakeLog(path)
    log.update()
    assert (log.done, log.total, log.running) == (0, 2, {4: "act_student ct 0"})
    path.write_text(BEGIN + FINISH)
    log.update()
    assert (log.done, log.total, log.running) == (1, 2, {})
    assert log.failures == []


def test_rules_that_only_name_files_are_no_jobs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin = BEGIN.replace(
        "total               3",
        "figures             1\ntables              1\ntotal               5",
    )
    path.write_text(begin + "Finished jobid: 2 (Rule: tables)\n1 of 5 steps (20%) done\n")
    log = SnakemakeLog(path)
    log.update()
    assert (log.done, log.total) == (0, 2)
    finish = FINISH.replace("1 of 3 steps (33%)", "2 of 5 steps (40%)")
    path.write_text(path.read_text() + finish)
    log.update()
    assert (log.done, log.total) == (1, 2)


def test_a_failure_has_rule_code_and_the_end_of_its_log(tmp_path: Path) -> None:
    job_log = tmp_path / "job.log"
    job_log.write_text("".join(f"line {i}\n" for i in range(100)))
    path = tmp_path / "log"
    path.write_text(BEGIN + FAIL.format(log=job_log))
    log = SnakemakeLog(path)
    log.update()
    (failure,) = log.failures
    assert (failure.rule, failure.exit_code, failure.log) == ("act_student", 75, job_log)
    text = failure.describe(lines=2)
    assert text.splitlines()[0].startswith("rule act_student failed (exit code 75); the end of ")
    assert text.splitlines()[1:] == ["  line 98", "  line 99"]
    assert log.running == {}


def test_files_that_were_not_written_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(BEGIN + UNWRITTEN)
    log = SnakemakeLog(path)
    log.update()
    (failure,) = log.failures
    assert failure.describe() == "rule act_student failed: it did not write results/x/cost.json"
    assert log.running == {}


def test_nothing_to_be_done_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("Nothing to be done (all requested files are present and up to date).\n")
    log = SnakemakeLog(path)
    log.update()
    assert log.idle


def test_a_failure_that_a_retry_mended_or_repeated_is_told_once_or_never(tmp_path: Path) -> None:
    path = tmp_path / "log"
    failed = BEGIN + FAIL.format(log="x.log")
    again = (
        failed + "Trying to restart job 4.\n" + BEGIN.split("\n\n")[1] + FAIL.format(log="x.log")
    )
    path.write_text(again)
    log = SnakemakeLog(path)
    log.update()
    assert [failure.job for failure in log.failures] == [4]
    path.write_text(again + BEGIN.split("\n\n")[1] + FINISH)
    log.update()
    assert (log.failures, log.running, log.done) == ([], {}, 1)


GROUP = """[Mon Nov 23 03:29:48 2026] Group job evaluations (jobs in lexicogr. order):

    [Mon Nov 23 03:29:48 2026]
    rule evaluation_measure:
        input: results/x/model
        jobid: 7
        wildcards: system=act, variant=ct, seed=0
    [Mon Nov 23 03:29:48 2026]
    rule evaluation_measure:
        input: results/x/model
        jobid: 5
        wildcards: system=teacher, variant=digits, seed=0
"""


def test_jobs_of_a_group_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(GROUP)
    log = SnakemakeLog(path)
    log.update()
    names = {7: "evaluation_measure act ct 0", 5: "evaluation_measure teacher digits 0"}
    assert log.running == names


SHOWN = """Error in rule act_student:
    message: SLURM-job '8' failed
    jobid: 4
    log: {log}, /x/.snakemake/slurm_logs/8.log (check log file(s) for error details)
Logfile {log}:
=====
slimgen: the loss is not finite
=====
Logfile /x/.snakemake/slurm_logs/8.log:
==========
rule act_student:
    jobid: 0
Error in rule act_student:
    jobid: 0
Logfile {log}:
=====
1 of 1 steps (100%) done
=====
Error in rule inner:
==========
Trying to restart job 4.
"""


def test_logs_that_are_repeated_are_not_read_as_news(tmp_path: Path) -> None:
    job_log = tmp_path / "job.log"
    job_log.write_text("the loss is not finite\n")
    path = tmp_path / "log"
    path.write_text(BEGIN + SHOWN.format(log=job_log) + "1 of 3 steps (33%) done\n")
    log = SnakemakeLog(path)
    log.update()
    assert (log.done, log.total, log.running) == (1, 2, {})
    (failure,) = log.failures
    assert (failure.rule, failure.job, failure.log) == ("act_student", 4, job_log)
