"""Locks, fingerprints, budgets and signals of a job; the command line's collapse of inputs."""

import multiprocessing
import os
import signal
import time

import pytest

from slimgen.stage_command import check_exist, collapse, default_state, input_digest
from slimgen.training.faults import faults_in_one_line
from slimgen.training.job import Job, PassingError, StageError, Stopped, forget_finished


def make_job(tmp_path, **changes):
    return Job(stage="a.b", out=tmp_path / "out", state=tmp_path / "state", **changes)


def _hold(state, seconds, ready):
    with Job(stage="a.b", out=state, state=state).locked():
        ready.set()
        time.sleep(seconds)


def test_the_second_job_waits_for_the_lock_up_to_its_budget(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "state", 1.5, ready))
    holder.start()
    ready.wait()
    impatient = make_job(tmp_path, deadline=time.monotonic() + 0.3)
    with pytest.raises(Stopped), impatient.locked():
        pytest.fail("the lock was given twice")
    with make_job(tmp_path).locked():
        assert not holder.is_alive() or holder.join(1) is None
    holder.join()


def test_a_state_of_other_settings_is_emptied(tmp_path):
    job = make_job(tmp_path, fingerprint="one")
    with job.locked():
        job.open_state()
        (job.state / "last.safetensors").write_text("weights")
        (job.state / "shards").mkdir()
        job.open_state()
        assert (job.state / "last.safetensors").exists()
    other = make_job(tmp_path, fingerprint="two")
    with other.locked():
        other.open_state()
        assert sorted(p.name for p in other.state.iterdir()) == ["fingerprint.json", "lock"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_signals_ask_to_stop(tmp_path, name):
    old = {
        number: signal.getsignal(number)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    }
    job = make_job(tmp_path)
    try:
        job.install_signals()
        job.stop_if_asked()
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.01)
        assert job.stop_reason() == name
        with pytest.raises(Stopped) as stop:
            job.stop_if_asked()
        assert stop.value.code == 75
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def test_several_files_mean_their_folder(tmp_path):
    for name in ("a/x", "a/y", "b/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert collapse("m", [tmp_path / "a/x", tmp_path / "a/y"]) == tmp_path / "a"
    assert collapse("m", [tmp_path / "a/x"]) == tmp_path / "a/x"
    with pytest.raises(StageError, match="--m: the files lie in different folders"):
        collapse("m", [tmp_path / "a/x", tmp_path / "b/x"])
    with pytest.raises(StageError, match=r"--m: .*nowhere does not exist"):
        check_exist({"m": [tmp_path / "nowhere"]})


def test_input_digest_sees_bytes_and_names_only(tmp_path):
    (tmp_path / "x").write_text("1")
    first = input_digest([tmp_path / "x"])
    os.utime(tmp_path / "x", (0, 0))
    assert input_digest([tmp_path / "x"]) == first
    (tmp_path / "x").write_text("2")
    assert input_digest([tmp_path / "x"]) != first


def test_state_folder_mirrors_the_results_folder(tmp_path):
    assert (
        default_state(tmp_path / "results/digits/act/student")
        == tmp_path / "runs/digits/act/student"
    )
    assert default_state(tmp_path / "elsewhere") == tmp_path / "elsewhere.state"


def test_a_job_that_another_start_finished_meanwhile_is_not_done_again(tmp_path):
    """Snakemake deletes the outputs before the second start's job begins."""
    first = make_job(tmp_path, fingerprint="one", planned=time.time() - 60)
    with first.locked():
        assert not first.take_back()
        first.open_state()
        first.out.mkdir()
        (first.out / "weights").write_text("trained")
        first.close_state()
    (tmp_path / "out" / "weights").unlink()
    assert not make_job(tmp_path, fingerprint="two", planned=0.0).take_back()
    assert not make_job(tmp_path, fingerprint="one", planned=time.time() + 60).take_back()
    assert not make_job(tmp_path, fingerprint="one").take_back()  # by hand: compute again
    second = make_job(tmp_path, fingerprint="one", planned=time.time() - 30)
    with second.locked():
        assert second.take_back()
        assert (second.out / "weights").read_text() == "trained"
    forget_finished(tmp_path)
    assert not second.state.exists()
    assert (second.out / "weights").read_text() == "trained"


def attempt(job, error):
    """Run a stage that ends with an error, as the command line does."""
    with faults_in_one_line(job, None), job.locked():
        job.open_state()
        raise error


def test_bad_input_is_repeated_within_a_start_of_the_workflow_and_looked_at_by_the_next(tmp_path):
    bad = StageError("a.b: label 7 is not in the map")
    with pytest.raises(StageError, match="label 7"):
        attempt(make_job(tmp_path, planned=5.0), bad)
    other = StageError("never reached")
    with pytest.raises(StageError, match=r"label 7 is not in the map \(an earlier attempt"):
        attempt(make_job(tmp_path, planned=5.0), other)
    with pytest.raises(StageError, match="never reached"):
        attempt(make_job(tmp_path, planned=6.0), other)


@pytest.mark.parametrize(
    ("error", "planned"),
    [
        (PassingError("a.b: cannot get images.tar"), 5.0),
        (OSError(28, "No space left on device"), 5.0),
        (MemoryError("out of memory"), 5.0),
        (StageError("a.b: started by hand"), None),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(tmp_path, error, planned):
    for _ in range(2):
        with pytest.raises(StageError) as caught:
            attempt(make_job(tmp_path, planned=planned), error)
        assert "an earlier attempt" not in str(caught.value)


def test_a_reason_that_lasts_is_repeated_by_every_later_start(tmp_path):
    job = make_job(tmp_path, planned=5.0)
    with job.locked():
        job.open_state()
        lasting = job.fail("a.b: loss is nan by step 5")
    with pytest.raises(StageError, match="loss is nan"):
        attempt(make_job(tmp_path, planned=6.0), lasting)
    with pytest.raises(StageError, match="an earlier attempt"):
        attempt(make_job(tmp_path, planned=7.0), StageError("never reached"))


def test_a_lock_of_a_folder_that_was_taken_away_is_no_lock(tmp_path):
    """The holder deletes the folder while another waits for the lock in it."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold_and_delete, args=(tmp_path / "state", ready))
    holder.start()
    ready.wait()
    late = make_job(tmp_path, deadline=time.monotonic())
    with make_job(tmp_path).locked():
        holder.join()
        with pytest.raises(Stopped), late.locked():
            pytest.fail("the lock was given twice")


def _hold_and_delete(state, ready):
    job = Job(stage="a.b", out=state, state=state)
    with job.locked():
        ready.set()
        time.sleep(0.5)
        job.close_state()
        time.sleep(0.5)
