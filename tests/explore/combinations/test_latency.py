"""The fit to end-to-end timings withstands outliers and slow phases, and its bound holds."""

import json

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.explore.combinations.chain import ChainSum
from adaspring.explore.combinations.latency import Timing, predict_latency
from adaspring.tests.support import truths

SEGMENTS, CELLS, SCALE, OFFSET_MS = 5, 6, 0.92, 0.03
DENSE = (0,) * SEGMENTS
CHOICES = truths.choices_of(SEGMENTS, CELLS)


def parts(seed):
    """Latencies of cells and crossings, in ms."""
    rng = np.random.default_rng(seed)
    cells = tuple(np.r_[0.3, rng.uniform(0.08, 0.3, CELLS - 1)] for _ in range(SEGMENTS))
    between = tuple(rng.uniform(0, 0.01, (CELLS, CELLS)) for _ in range(SEGMENTS - 1))
    return ChainSum(base=0.0, cells=cells, crossings=between)


class Machine:
    """Shared with others: calls take up to 3 times as long, and some phases last for long.

    `departure`: the standard deviation of what combinations depart from the law, as a share.
    """

    def __init__(self, held, seed, departure=0.0, scale=SCALE, offset=OFFSET_MS):
        self.held, self.rng, self.calls = held, np.random.default_rng(seed), 0
        self.departure, self.scale, self.offset = departure, scale, offset
        self.times_ms = {}
        self.phases = np.repeat(self.rng.choice([1.0, 1.0, 1.6, 2.2], 50), 300)

    def true_ms(self, cells):
        if cells not in self.times_ms:
            own = 1 if cells == DENSE else self.rng.normal(1, self.departure)
            self.times_ms[cells] = own * (self.scale * self.held.of([cells])[0] + self.offset)
        return self.times_ms[cells]

    def time_ms(self, cells):
        self.calls += 1
        spike = self.rng.uniform(1.2, 3) if self.rng.random() < 0.15 else 1.0
        slow = self.phases[self.calls] * spike * self.rng.normal(1, 0.005)
        return float(self.true_ms(cells) * slow)

    def draw(self, count):
        return [tuple(row) for row in self.rng.integers(0, CELLS, (count, SEGMENTS)).tolist()]

    def time(self, combinations, rounds=15):
        return [
            Timing(
                cells=cells,
                total_ms=tuple(self.time_ms(cells) for _ in range(rounds)),
                dense_ms=tuple(self.time_ms(DENSE) for _ in range(rounds)),
            )
            for cells in combinations
        ]

    def timings(self, count):
        return self.time(self.draw(count))


def test_scale_and_offset_are_found_in_noise_on_a_usual_machine():
    held = parts(0)
    machine = Machine(held, 0)
    machine.phases[:] = 1.0
    found = predict_latency(held, machine.timings(60), machine.timings(59))
    assert found.scale == pytest.approx(SCALE, rel=0.05)
    assert found.offset_ms == pytest.approx(OFFSET_MS, abs=0.05)
    assert found.bound.value < 0.05


@pytest.mark.parametrize("departure", [0.0, 0.03])
def test_the_bound_holds_for_95_percent_in_slow_phases(departure):
    held_ratios = []
    for seed in range(10):
        held = parts(seed)
        machine = Machine(held, seed, departure)
        found = predict_latency(held, machine.timings(60), machine.timings(100))
        assert found.bound.confidence_ratio >= 0.95
        fresh = machine.draw(300)
        # As fast as the usual call of the dense network was: phases are no matter of the fit.
        usual = found.of_sums(held.of([DENSE]))[0] / machine.true_ms(DENSE)
        truth = usual * np.array([machine.true_ms(cells) for cells in fresh])
        expected = found.of_sums(held.of(fresh))
        held_ratios.append(np.mean(np.abs(truth / expected - 1) <= found.bound.value))
    assert np.mean(held_ratios) >= 0.95
    assert np.mean(np.array(held_ratios) >= 0.95) >= 0.9


def test_a_machine_that_slows_down_while_it_times_does_not_tilt_the_fit():
    held = parts(3)
    machine = Machine(held, 3)
    machine.phases = np.linspace(1, 3, 60 * 31)
    timings = machine.time(sorted(machine.draw(60), key=lambda cells: held.of([cells])[0]))
    found = predict_latency(held, timings, timings)
    assert found.offset_ms / found.scale == pytest.approx(OFFSET_MS / SCALE, abs=0.05)


def test_a_fifth_of_timings_that_are_wild_do_not_move_it():
    held, rng = parts(4), np.random.default_rng(0)
    machine = Machine(held, 4)
    machine.phases[:] = 1.0
    timings = machine.timings(60)
    wild = [
        Timing(
            cells=timing.cells,
            total_ms=tuple(3 * ms for ms in timing.total_ms),
            dense_ms=timing.dense_ms,
        )
        if rng.random() < 0.2
        else timing
        for timing in timings
    ]
    plain, found = (predict_latency(held, given, timings) for given in (timings, wild))
    sums = held.of(list(CHOICES.all())[::97])
    assert found.of_sums(sums) == pytest.approx(plain.of_sums(sums), rel=0.03)


def test_it_says_how_much_timings_depart_from_the_sums():
    held = parts(5)
    machine = Machine(held, 5, scale=1.3, offset=0.0)
    machine.phases[:] = 1.0
    found = predict_latency(held, machine.timings(60), machine.timings(59))
    assert dict(found.sum_ratios)[0.5] == pytest.approx(0.3, abs=0.05)
    assert dict(found.error_ratios)[0.5] == pytest.approx(0, abs=0.02)


def test_where_sums_hardly_differ_there_is_a_scale_alone():
    held = ChainSum(base=0.0, cells=(np.full(CELLS, 0.2) + np.arange(CELLS) / 500,) * SEGMENTS)
    machine = Machine(held, 6, scale=1.2, offset=0.0)
    machine.phases[:] = 1.0
    found = predict_latency(held, machine.timings(40), machine.timings(59))
    assert found.offset_ms == 0
    assert found.scale == pytest.approx(1.2, rel=0.03)


def test_the_offset_never_makes_a_latency_negative():
    held = parts(7)
    rows = [tuple(row) for row in np.random.default_rng(7).integers(0, CELLS, (60, SEGMENTS))]
    timings = [
        Timing(cells=cells, total_ms=(max(total, 1e-3),), dense_ms=(1.0,))
        for cells, total in zip(rows, 4 * held.of(rows) - 3.2, strict=True)
    ]
    found = predict_latency(held, timings, timings)
    assert found.of_sums(held.of(rows)).min() > 0


def test_timings_of_long_ones_do_not_make_the_shortest_take_next_to_nothing():
    held = parts(8)
    rows = [(0, *cells) for cells in np.random.default_rng(8).integers(0, 2, (60, SEGMENTS - 1))]
    sums = held.of(rows)
    totals = 3 * (sums - sums.min()) + 0.2 * sums.min()
    timings = [
        Timing(cells=cells, total_ms=(total,), dense_ms=(1.0,))
        for cells, total in zip(rows, totals, strict=True)
    ]
    found = predict_latency(held, timings, timings)
    alone = np.median(totals / sums) * held.least
    assert found.of_sums(np.array([held.least]))[0] >= alone / 2


def test_it_becomes_fields_of_the_space_and_plain_data():
    held = parts(8)
    machine = Machine(held, 8)
    found = predict_latency(held, machine.timings(20), machine.timings(5))
    fields = found.space_fields()
    assert fields == {"latency_scale": found.scale, "latency_offset_ms": found.offset_ms}
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["bound"]["value"] is None


@pytest.mark.parametrize(
    ("total", "dense", "complaint"),
    [
        ((), (), "0 timings"),
        ((1.0, 2.0), (1.0,), "2 timings, the dense one beside it 1"),
        ((1.0, 0.0), (1.0, 1.0), "no time above 0"),
        ((1.0, np.nan), (1.0, 1.0), "no time above 0"),
    ],
)
def test_timings_that_are_none_are_refused(total, dense, complaint):
    with pytest.raises(UsageError, match=complaint):
        Timing(cells=DENSE, total_ms=total, dense_ms=dense)


def test_nothing_to_judge_by_is_refused():
    machine = Machine(parts(9), 9)
    with pytest.raises(UsageError, match="judged by others"):
        predict_latency(machine.held, machine.timings(5), [])


@pytest.mark.parametrize("figure", [0.0, np.nan])
def test_cells_without_a_latency_are_refused(figure):
    machine = Machine(parts(9), 9)
    nothing = ChainSum(base=0.0, cells=(np.full(CELLS, figure),) * SEGMENTS)
    with pytest.raises(UsageError, match="sum up to no time"):
        predict_latency(nothing, machine.timings(5), machine.timings(5))
