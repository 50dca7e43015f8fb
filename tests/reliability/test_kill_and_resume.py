"""Every stage survives SIGKILL at any moment and ends with the bits of an undisturbed run.

Each stage runs through its real command line in a forked process. The undisturbed twin works in a
folder of its own and must have started at step 0.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time

import pytest
from stage_runs import STAGES, TRAINED, Place, outputs

from slimgen.config.run import STAGES as KNOWN

pytestmark = pytest.mark.xdist_group("reliability")

KILLS = 5  # of every stage


def test_every_stage_is_killed_and_fifty_times_in_all():
    assert {stage.name for stage in STAGES.values()} == set(KNOWN)
    assert KILLS * len(STAGES) >= 50


@pytest.mark.parametrize("key", STAGES)
def test_killed_at_random_moments_ends_bit_identical(undisturbed, place, key):
    twin, seconds = undisturbed
    rng = random.Random(key)
    kills, resumed = 0, []
    while kills < KILLS:
        process = place.start(key)
        if key in TRAINED and kills % 2:  # behind the first checkpoint; else anywhere
            place.wait_for_state(process, key)
            process.join(rng.uniform(0, seconds[key] / 4))
        else:
            process.join(rng.uniform(0, seconds[key]))
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:  # it was done: killed again from its beginning
            assert process.exitcode == 0, place.log(key).read_text()[-3000:]
            resumed += starts(place, key)
            assert outputs(place.out(key)) == outputs(twin.out(key))
            place.log(key).unlink()
    place.end(key)
    resumed += starts(place, key)
    if key in TRAINED:
        assert starts(twin, key) == [0]
        assert max(resumed) > 0
    assert outputs(place.out(key)) == outputs(twin.out(key))
    assert not place.state(key).exists()


def starts(place: Place, key: str) -> list[int]:
    """Return the steps at which a stage's training began or went on."""
    said = place.log(key).read_text()
    return [int(step) for step in re.findall(r"(?:starting|resumed) at step (\d+)", said)]


def test_what_killed_writers_left_is_removed(undisturbed, place):
    (place.out("data") / ".saving-abc").mkdir(parents=True)
    (place.out("data") / ".saving-abc" / "model.safetensors").write_text("half a model")
    (place.out("data") / ".train.npz.123.tmp").write_text("half a file")
    place.end("data")
    assert outputs(place.out("data")) == outputs(undisturbed[0].out("data"))


@pytest.mark.parametrize(
    ("key", "name"), [("teacher", "SIGTERM"), ("act", "SIGUSR1"), ("pairs", "SIGINT")]
)
def test_a_signal_saves_and_stops_within_seconds_with_code_75(undisturbed, place, key, name):
    process = place.start(key)
    place.wait_for_state(process, key)
    asked = time.monotonic()
    os.kill(process.pid, getattr(signal, name))
    process.join(20)
    said = place.log(key).read_text()
    assert process.exitcode == 75, said[-2000:]
    assert time.monotonic() - asked < 30
    assert f"stopped ({name})" in said
    place.end(key)
    assert outputs(place.out(key)) == outputs(undisturbed[0].out(key))


def test_a_spent_time_budget_saves_and_stops(undisturbed, place):
    said = place.end("teacher", "--budget-minutes", "0.0005", code=75)
    assert "the time budget is spent" in said
    place.end("teacher")
    assert outputs(place.out("teacher")) == outputs(undisturbed[0].out("teacher"))


def begin(place: Place, key: str, **settings) -> None:
    """Kill a stage behind its first checkpoint."""
    process = place.start(key, **settings)
    place.wait_for_state(process, key)
    process.kill()
    process.join()


def test_changed_settings_never_resume_an_old_run(place):
    begin(place, "teacher")
    place.log("teacher").unlink()
    assert "starting at step 0 of 31" in place.end("teacher", steps=31)


def test_another_checkpoint_period_goes_on_with_the_old_run(undisturbed, place):
    begin(place, "teacher")
    place.end("teacher", checkpoint_seconds=None)
    assert max(starts(place, "teacher")) > 0
    (place.out("teacher") / "settings.json").unlink()  # it tells the period
    found, expected = (outputs(p.out("teacher")) for p in (place, undisturbed[0]))
    del expected["settings.json"]
    assert found == expected
