"""A time limit fits the learning rate's schedule to the data; the clock is the test's own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from adaspring.errors import TrainingError, UsageError
from adaspring.passes import Prune
from adaspring.passes import run as compress
from adaspring.training import Settings, train, train_together
from adaspring.training.run.schedule import Pace, Schedule, duration

from ...support.passes import fingerprint
from ...support.training import part, untrained, wide

TEN_STEPS = Settings(epochs=6, batch=20, patience=6)


class Stop(Exception):
    """Stands for a signal."""


class Clock:
    """A clock on which each step takes what `step_s` says; progress that notes what it is told."""

    def __init__(self, step_s=lambda step: 1.0, stop_at: int | None = None):
        self.now_s, self.notes, self.totals = 100.0, [], []
        self._step_s, self._stop_at = step_s, stop_at

    def __call__(self) -> float:
        return self.now_s

    def step(self, stage, done, total, detail):
        if done == self._stop_at:
            raise Stop
        self.now_s += self._step_s(done)
        self.totals.append(total)

    def note(self, text):
        self.notes.append(text)


def run(clock, *, limit_s, settings=TEN_STEPS, **options):
    return train(
        untrained(),
        part(0, 200),
        part(1000, 1100),
        replace(settings, time_limit_s=limit_s),
        progress=clock,
        clock=clock,
        **options,
    )


def test_as_many_epochs_are_trained_as_fit_the_limit_and_it_is_said():
    clock = Clock()
    trained = run(clock, limit_s=32.0)
    assert [epoch.epoch for epoch in trained.history] == [0, 1, 2, 3]
    assert clock.notes == ["an epoch of 10 steps takes about 10 s; 32 s are enough for 3 epochs"]
    assert trained.stopped == "the time limit of 32 s is over after 3 epochs"


def test_a_limit_below_an_epoch_trains_on_a_part_of_the_data():
    clock = Clock()
    trained = run(clock, limit_s=6.0)
    assert len(clock.totals) == 5
    assert len(trained.history) == 2
    assert math.isfinite(trained.history[1].loss)
    assert trained.stopped == "the time limit of 6 s is over after 0.5 epochs"


def test_a_limit_that_is_long_enough_changes_nothing():
    free, limited = run(Clock(), limit_s=None), run(Clock(), limit_s=1e6)
    assert limited.history == free.history
    assert fingerprint(limited.model) == fingerprint(free.model)
    assert limited.stopped == "all 6 epochs are done"


def test_without_a_limit_it_says_how_long_an_epoch_takes():
    clock = Clock()
    run(clock, limit_s=None)
    assert clock.notes == ["an epoch of 10 steps takes about 10 s, all 6 at most 60 s"]


def test_a_machine_that_becomes_slower_or_faster_moves_the_end():
    slower, faster = (
        Clock(lambda step: 1.0 if step < 10 else 4.0),
        Clock(lambda step: 4.0 - step / 9),
    )
    run(slower, limit_s=40.0)
    assert len(slower.totals) < 38
    assert slower.now_s - 100.0 <= 40.0 + 4.0
    run(faster, limit_s=100.0, settings=replace(TEN_STEPS, epochs=3))
    assert len(faster.totals) == 30


def test_the_learning_rate_reaches_0_where_the_time_ends(monkeypatch):
    rates = []
    real = Schedule.rate_ratio
    monkeypatch.setattr(
        Schedule, "rate_ratio", lambda self, done: rates.append(real(self, done)) or rates[-1]
    )
    run(Clock(), limit_s=32.0)
    assert len(rates) == 30
    assert rates[0] == 1.0
    assert 0 < rates[-1] < 0.01
    assert np.all(np.diff(rates) <= 0)


def test_a_schedule_that_is_not_moved_is_half_a_cosine():
    schedule = Schedule(epoch_steps=10, end=40)
    for done in (0, 7, 39):
        assert schedule.rate_ratio(done) == 0.5 * (1 + math.cos(math.pi * done / 40))


@pytest.mark.parametrize("end", [20, 25, 400])
def test_a_moved_end_leaves_no_jump_and_ends_at_0(end):
    before = Schedule(epoch_steps=10, end=40)
    after = before.ending(end, 15)
    assert after.rate_ratio(15) == pytest.approx(before.rate_ratio(15))
    assert after.rate_ratio(end) == pytest.approx(0.0, abs=1e-12)


def test_validation_is_paid_for_and_the_first_step_is_not_counted():
    now = [0.0]
    pace = Pace(100.0, lambda: now[0])
    with pace.validation():
        now[0] += 5.0
    pace.begin_steps()
    for step_s in (9.0, 1.0, 1.0):
        now[0] += step_s
        pace.end_step()
    assert pace.epoch_s(10) == 15.0
    # 95 s less the 16 that were spent less the last validation, in steps of 1.5 s
    assert pace.fit(Schedule(epoch_steps=10, end=1000), 3, 1000).end == 3 + int(74 / 1.5)


def test_what_a_stopped_run_took_counts_when_it_goes_on(tmp_path):
    with pytest.raises(Stop):
        run(Clock(stop_at=20), limit_s=32.0, checkpoints=tmp_path)
    clock = Clock()
    trained = run(clock, limit_s=32.0, checkpoints=tmp_path)
    assert len(clock.totals) == 10
    assert trained.history == run(Clock(), limit_s=32.0).history


def test_a_checkpoint_with_a_schedule_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(Stop):
        run(Clock(stop_at=20), limit_s=32.0, checkpoints=tmp_path)
    (counters,) = tmp_path.glob("*/counters.json")
    counters.write_bytes(counters.read_bytes().replace(b'"epoch_steps":10', b'"epoch_steps":0'))
    with pytest.raises(TrainingError, match=r"damaged .* remove"):
        run(Clock(), limit_s=32.0, checkpoints=tmp_path)


def test_networks_that_are_trained_together_keep_the_limit_too():
    clock = Clock()
    settings = Settings(epochs=9, batch=50, time_limit_s=10.0)
    found = train_together(
        wide(),
        {"half": compress(wide(), (Prune(keep_ratio=0.5, multiple_of=1),), None).steps},
        part(0, 200),
        part(1000, 1100),
        settings,
        progress=clock,
        clock=clock,
    )
    assert len(clock.totals) == 9
    assert found.stopped == "the time limit of 10 s is over after 2.25 epochs"


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_is_no_time_is_refused(limit_s):
    with pytest.raises(UsageError, match="time_limit_s"):
        Settings(time_limit_s=limit_s)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (80.4, "80 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_written_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text
