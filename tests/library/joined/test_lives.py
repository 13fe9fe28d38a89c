"""What is learnt of one board is not the other's; it is shown by board, and kept by library."""

from __future__ import annotations

import json

import numpy as np
import pytest

import adaspring
from adaspring.library.context import Context
from adaspring.library.joined.names import with_board
from adaspring.library.live.meter import Meter
from adaspring.library.policies import Deadline
from adaspring.library.reader import read_manifest
from adaspring.library.shapes.choice import decide_by_shape

from ...support.joined import CPU, GPU
from ...support.streams_of_calls import Clock, noise

RECORDED_MS = {f"{CPU}:dense": 10, f"{CPU}:rank16": 4, f"{CPU}:rank4": 2, f"{GPU}:dense": 3}


class App:
    """A net over both libraries without networks: its calls take what the test says."""

    def __init__(self, pair) -> None:
        manifests = [with_board(read_manifest(folder)) for folder in pair]
        self.clock, self.rng = Clock(), np.random.default_rng(5)
        self.meter = Meter(manifests, ("a", "b"), clock=self.clock)
        self.decide = decide_by_shape(Deadline(), manifests, self.meter)

    def call(self, name: str, ratio: float, count: int = 60) -> None:
        for factor in ratio * noise(self.rng, count):
            start_s = self.clock.now_s
            self.clock.now_s += 1e-3 * RECORDED_MS[name] * factor / 1.07
            self.meter.note(name, 0, start_s)

    def chosen(self, **context: float) -> str:
        self.clock.now_s += 0.5  # a policy is renewed at times only
        return self.decide(Context(**context)).variant

    def predicted_ms(self, name: str) -> float:
        self.clock.now_s += 0.5
        floor = {f"{CPU}:dense": 0.98, f"{GPU}:dense": 0.965}[name]
        budget = 3.5 * 1.2 if name.startswith(GPU) else 1e3
        decision = self.decide(Context(metric_floor=floor, latency_budget_ms=budget))
        assert decision.variant == name
        return decision.predicted.latency_ms


@pytest.fixture
def app(pair) -> App:
    return App(pair)


def test_a_busy_processor_leaves_the_gpu_as_fast_as_it_was(app):
    assert app.chosen(latency_budget_ms=12) == f"{CPU}:dense"
    app.call(f"{CPU}:dense", 1.0)
    assert app.chosen(latency_budget_ms=12) == f"{CPU}:dense"
    app.call(f"{CPU}:dense", 2.5)
    decision = app.decide(Context(latency_budget_ms=12))
    assert decision.variant == f"{GPU}:dense"
    assert decision.predicted.latency_ms == pytest.approx(3.0, rel=0.1)
    app.call(f"{GPU}:dense", 1.0)
    assert app.chosen(latency_budget_ms=12) == f"{GPU}:dense"


def test_a_throttled_gpu_leaves_the_processor_as_fast_as_it_was(app):
    app.call(f"{CPU}:rank16", 1.0)
    app.call(f"{GPU}:dense", 1.0)
    assert app.chosen(latency_budget_ms=5) == f"{GPU}:dense"
    app.call(f"{GPU}:dense", 3.0)
    assert app.chosen(latency_budget_ms=5) == f"{CPU}:rank16"
    assert app.predicted_ms(f"{CPU}:dense") == pytest.approx(10.0, rel=0.12)


def test_a_processor_faster_than_recorded_says_nothing_of_the_gpu(app):
    app.call(f"{CPU}:dense", 0.4)
    assert app.predicted_ms(f"{GPU}:dense") == pytest.approx(3.0, rel=0.1)
    assert app.chosen(latency_budget_ms=5) == f"{CPU}:dense"


def test_a_load_that_is_foretold_counts_for_both_until_calls_show_whose_it_is(app):
    assert app.chosen(latency_budget_ms=5, load_ratio=1.0) == f"{GPU}:rank16"
    assert app.chosen(latency_budget_ms=7, load_ratio=1.0) == f"{GPU}:dense"
    for _ in range(4):
        app.call(f"{GPU}:dense", 1.0)
        app.chosen(latency_budget_ms=5, load_ratio=1.0)
    assert app.chosen(latency_budget_ms=5, load_ratio=1.0) == f"{GPU}:dense"


def test_costs_are_shown_by_board(app):
    app.call(f"{CPU}:dense", 2.0)
    app.call(f"{GPU}:dense", 1.0)
    costs = app.meter.costs()
    common = {(cost.variant, cost.pace): cost.common_ratio for cost in costs.variants}
    assert common[f"{CPU}:rank4", "hot"] == pytest.approx(2.0, rel=0.15)
    assert common[f"{GPU}:rank16", "hot"] == pytest.approx(1.0, rel=0.15)
    assert costs.hot_common_ratio == common[f"{CPU}:dense", "hot"]
    last = str(costs).splitlines()[-1]
    assert last.startswith("all of cpu-board: ")
    assert "; all of gpu-board: " in last


def test_what_a_net_learnt_is_taken_up_by_the_next_one(libraries, arrays, tmp_path):
    path = tmp_path / "costs.json"
    with libraries.open(costs=path) as net:
        for name in (f"{CPU}:dense", f"{GPU}:rank16"):
            net.use(name)
            for _ in range(20):
                net(*arrays)
        net.save_costs(path)
    kept = json.loads(path.read_bytes())
    with libraries.open(costs=path) as net:
        assert net.costs().origin.endswith("was taken in")
        common = {cost.variant: cost.common_ratio for cost in net.costs().variants[::2]}
        saved = {f"{CPU}:dense": kept, f"{GPU}:dense": kept["further_libraries"][0]}
        for name, library in saved.items():
            assert common[name] == pytest.approx(library["hot"]["machine"]["ratio"], rel=0.01)


def test_what_was_learnt_of_a_library_holds_whichever_others_it_is_loaded_with(
    pair, libraries, arrays, tmp_path
):
    together, alone = tmp_path / "together.json", tmp_path / "alone.json"
    with libraries.open(f"{GPU}:dense") as net:
        for _ in range(20):
            net(*arrays)
        net.save_costs(together)
    (further,) = json.loads(together.read_bytes())["further_libraries"]
    assert further["library"] == libraries.libraries[1].digest
    assert further["hot"]["own"].keys() == {"dense"}
    with adaspring.load(pair[1]) as library, library.open(costs=together) as net:
        assert net.costs().origin.endswith("was taken in")
        assert net.costs().hot_common_ratio == pytest.approx(further["hot"]["machine"]["ratio"])
        net.save_costs(alone)
    with libraries.open(costs=alone) as net:
        assert net.costs().origin.endswith("was taken in, for 1 of 2 libraries")
