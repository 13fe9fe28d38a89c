"""Policies decide by the costs of here and now, and are prepared anew only where those moved."""

from __future__ import annotations

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.library.context import Context
from adaspring.library.evolve.spaces import Spaces, spaces_of
from adaspring.library.live.meter import Meter
from adaspring.library.live.prepared import Prepared
from adaspring.library.policies import Deadline, Decide

from ...support.streams_of_calls import Clock, noise
from ...support.variants import manifest, variant

RECORDED_MS = {"best": 10.0, "middle": 4.0, "small": 2.0}
MANIFEST = manifest(
    [
        variant("best", 0.98, RECORDED_MS["best"], 9000, 50, cold=20),
        variant("middle", 0.96, RECORDED_MS["middle"], 6000, 20, cold=8),
        variant("small", 0.90, RECORDED_MS["small"], 5000, 8, cold=4),
    ]
)
IN_TIME = Context(latency_budget_ms=5.0)


class Counting:
    """The deadline policy; counts how often it is prepared."""

    def __init__(self) -> None:
        self.prepared_count = 0

    def prepare(self, spaces: Spaces) -> Decide:
        self.prepared_count += 1
        return Deadline().prepare(spaces)


class App:
    """A net without a network: its calls take what the test says."""

    def __init__(self, policy=None) -> None:
        self.clock, self.rng = Clock(), np.random.default_rng(11)
        self.meter = Meter((MANIFEST,), clock=self.clock)
        self.decide = Prepared(policy or Deadline(), spaces_of(MANIFEST), 0, self.meter)
        self.late = 0
        self.meter.on_late(self._count)

    def _count(self, call: object) -> None:
        self.late += 1

    def call(self, name: str, ratio: float, count: int = 50, pause_s: float = 0.0) -> None:
        for factor in ratio * noise(self.rng, count):
            self.clock.now_s += pause_s
            start_s = self.clock.now_s
            self.clock.now_s += 1e-3 * RECORDED_MS[name] * factor / 1.07
            self.meter.note(name, 0, start_s)

    def chosen(self, context: Context = IN_TIME) -> str:
        return self.decide(context).variant


def test_calls_as_recorded_change_no_decision_and_prepare_little():
    """The median, of which nothing is recorded here, has to be learnt first."""
    policy = Counting()
    app = App(policy)
    for _ in range(50):
        app.call("middle", 1.0, 20)
        assert app.chosen() == "middle"
    assert policy.prepared_count <= 4


def test_a_slow_machine_is_given_a_smaller_variant_and_its_recovery_the_old_one():
    app = App()
    app.call("middle", 1.0)
    assert app.chosen() == "middle"
    app.call("middle", 1.7)
    decision = app.decide(IN_TIME)
    assert decision.variant == "small"
    assert decision.predicted.latency_ms == pytest.approx(2.0 * 1.7, rel=0.12)
    app.call("small", 1.0)
    assert app.chosen() == "middle"


def test_a_variant_that_turns_out_slower_is_demoted_and_the_others_are_not():
    app = App()
    app.call("small", 1.0, 100)
    assert app.chosen() == "middle"
    app.call("middle", 1.7)
    assert app.chosen() == "small"
    app.call("small", 1.0)
    assert app.chosen() == "small"
    assert app.chosen(Context(latency_budget_ms=11.5)) == "best"


def test_a_machine_that_is_faster_than_the_recorded_one_runs_more():
    app = App()
    app.call("middle", 0.4, 100)
    assert app.chosen() == "best"


def test_cold_calls_are_held_against_what_cold_calls_took():
    seldom = Context(latency_budget_ms=10.0, calls_per_s=10.0)
    app = App()
    assert app.chosen(seldom) == "middle"  # 8 ms when cold
    app.call("middle", 3.2, 50, pause_s=0.09)  # 1.6 times what is recorded of cold calls
    assert app.chosen(seldom) == "small"


def test_a_load_that_the_app_foretells_is_not_counted_again_once_calls_show_it():
    app = App()
    loaded = Context(latency_budget_ms=5.0, load_ratio=0.7)
    assert app.chosen(loaded) == "small"
    app.call("small", 1.7, 100)
    assert app.chosen(loaded) == "small"
    predicted = app.decide(loaded).predicted.latency_ms
    assert predicted == pytest.approx(2.0 * 1.7, rel=0.1)


def test_late_calls_are_told_against_the_budget_that_was_decided_by():
    app = App()
    app.call("middle", 2.0, 10)
    assert app.late == 0
    app.chosen(IN_TIME)
    app.call("middle", 2.0, 10)
    assert app.late == 10
    app.chosen(Context())
    app.call("middle", 2.0, 10)
    assert app.late == 10


def test_what_is_no_context_is_left_to_the_policy_to_refuse():
    with pytest.raises(UsageError, match=r"give an adaspring\.Context"):
        App().decide({"latency_budget_ms": 5})


def test_what_takes_long_to_prepare_is_prepared_seldom():
    class Slow(Counting):
        def prepare(self, spaces: Spaces) -> Decide:
            app.clock.now_s += 0.02
            return super().prepare(spaces)

    app = App()
    policy = Slow()
    app.decide = Prepared(policy, spaces_of(MANIFEST), 0, app.meter)
    for ratio in (0.9, 0.5, 0.8, 0.4) * 5:
        app.call("middle", ratio)
        app.chosen()
    passed_s = app.clock.now_s - 100.0
    assert 2 <= policy.prepared_count <= 2 + passed_s / 2.0
    app.clock.now_s += 2.0
    app.call("middle", 0.4)
    assert app.chosen() == "best"


def test_shapes_are_measured_and_corrected_apart():
    app = App()
    app.call("middle", 1.0, 100)
    elsewhere = Prepared(Deadline(), spaces_of(MANIFEST), 1, app.meter)
    for _ in range(100):
        start_s = app.clock.now_s
        app.clock.now_s += 1.0
        app.meter.note("middle", 1, start_s)  # of a shape of which nothing is recorded
    assert app.chosen() == "middle"
    assert elsewhere(IN_TIME).variant == "middle"
