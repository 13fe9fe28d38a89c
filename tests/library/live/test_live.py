"""What is learnt of streams of calls, whose truth is known: steps, outliers, one slow variant."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from adaspring.library.live.live import Live
from adaspring.library.live.recorded import Recorded

from ...support.streams_of_calls import RECORDED_MS, Clock, call, made_live, noise

LEARN_EVERY = [1, 5, 10, 16, 25, 50]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock) -> Live:
    return made_live(clock)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def believed(live: Live, name: str, cold: bool = False) -> float:
    """What the recorded latency of a name is multiplied by, all in all."""
    factors = live.factors(cold)
    return factors.common_ratio * factors.own_ratios[name]


def settle(live: Live, clock: Clock, rng: np.random.Generator) -> None:
    """Have every variant run as recorded."""
    for name in (*RECORDED_MS, *RECORDED_MS):
        call(live, clock, [name], noise(rng, 100))


def calls_until(live, clock, factors, learn_every, true) -> int:
    """After how many calls of the dense variant something is true when one asks."""
    seen = [0]
    found: list[int] = []

    def look() -> None:
        seen[0] += learn_every
        if not found and true(believed(live, "dense")):
            found.append(seen[0])

    call(live, clock, ["dense"], factors, learn_every=learn_every, tell=look)
    return found[0]


def test_nothing_measured_is_nothing_corrected(live):
    for cold in (False, True):
        assert live.factors(cold).common_ratio == 1.0
        assert set(live.factors(cold).own_ratios.values()) == {1.0}


@pytest.mark.parametrize("learn_every", LEARN_EVERY)
def test_a_machine_that_becomes_slower_is_noticed_within_50_calls_and_so_is_its_recovery(
    live, clock, rng, learn_every
):
    call(live, clock, ["dense"], noise(rng, 1000), learn_every=learn_every)
    slow, back = 1.7 * noise(rng, 400), noise(rng, 400)
    assert calls_until(live, clock, slow, learn_every, lambda ratio: ratio > 1.6) <= 50
    assert believed(live, "dense") == pytest.approx(1.7, rel=0.07)
    assert calls_until(live, clock, back, learn_every, lambda ratio: ratio < 1.1) <= 50
    assert believed(live, "dense") == pytest.approx(1.0, rel=0.07)


@pytest.mark.parametrize("learn_every", [8, 12, 25])
def test_other_work_that_takes_turns_of_milliseconds_shows_whenever_one_asks(
    live, clock, rng, learn_every
):
    """Calls of a quarter of a millisecond: 30 as recorded, 30 of 1.8 times as much, and so on."""
    looks: list[float] = []
    turns = np.where(np.arange(4000) // 30 % 2, 1.8, 1.0)
    factors = turns * np.exp(rng.normal(0.0, 0.05, 4000))

    def look() -> None:
        looks.append(believed(live, "tiny"))

    call(live, clock, ["tiny"], factors, learn_every=learn_every, tell=look)
    least, most = np.percentile(looks[400 // learn_every :], [5, 95])
    assert 1.5 < least < most < 2.2
    call(live, clock, ["tiny"], noise(rng, 200))
    assert believed(live, "tiny") == pytest.approx(1.0, rel=0.1)  # it has ended


@pytest.mark.parametrize("learn_every", LEARN_EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_late_calls_alone_raise_no_alarm(live, clock, learn_every, seed):
    """More than 10 % off at less than one look in 40, over 10,000 calls."""
    looks: list[float] = []
    factors = noise(np.random.default_rng(seed), 10_000)

    def look() -> None:
        looks.append(believed(live, "dense"))

    call(live, clock, ["dense"], factors, learn_every=learn_every, tell=look)
    off = np.abs(np.log(looks)) > np.log(1.1)
    assert off.mean() < 1 / 40
    assert np.abs(np.log(looks)).max() < np.log(1.25)


def test_the_first_calls_after_a_switch_may_be_slow(live, clock, rng):
    settle(live, clock, rng)
    call(live, clock, ["small"], [40.0, 8.0, 3.0, *noise(rng, 30)])
    assert believed(live, "small") == pytest.approx(1.0, rel=0.07)


def test_few_calls_change_nothing_yet(live, clock, rng):
    call(live, clock, ["dense"], 1.7 * noise(rng, 7))
    assert believed(live, "dense") == 1.0


def test_a_throttled_machine_is_one_factor(live, clock, rng):
    settle(live, clock, rng)
    call(live, clock, ["dense"], 1.5 * noise(rng, 100))
    assert believed(live, "small") == pytest.approx(1.5, rel=0.1)  # it has not run since
    call(live, clock, ["small"], 1.5 * noise(rng, 100))
    factors = live.factors(False)
    assert factors.common_ratio == pytest.approx(1.5, rel=0.05)
    assert all(own == pytest.approx(1.0, abs=0.05) for own in factors.own_ratios.values())


def test_a_variant_that_is_slow_from_its_first_call_is_slow_alone(live, clock, rng):
    for _ in range(2):
        call(live, clock, ["dense"], noise(rng, 100))
        call(live, clock, ["small"], 1.7 * noise(rng, 100))
    assert believed(live, "small") == pytest.approx(1.7, rel=0.07)
    assert believed(live, "dense") == pytest.approx(1.0, rel=0.07)
    assert believed(live, "tiny") == pytest.approx(1.0, rel=0.1)


def test_a_variant_that_becomes_slow_is_found_out_when_others_stay_as_they_were(live, clock, rng):
    settle(live, clock, rng)
    for other in ("small", "tiny", "small"):
        call(live, clock, ["dense"], 1.7 * noise(rng, 50))
        call(live, clock, [other], noise(rng, 50))
    assert believed(live, "dense") == pytest.approx(1.7, rel=0.1)
    assert believed(live, "small") == pytest.approx(1.0, rel=0.07)
    assert believed(live, "tiny") == pytest.approx(1.0, rel=0.07)


def test_load_that_ends_while_another_variant_is_put_in_place_is_not_held_against_the_first(
    live, clock, rng
):
    settle(live, clock, rng)
    call(live, clock, ["dense"], 1.7 * noise(rng, 50))
    call(live, clock, ["small"], noise(rng, 50))
    assert believed(live, "dense") < 1.2
    assert believed(live, "small") == pytest.approx(1.0, rel=0.07)


@pytest.mark.parametrize("seed", range(4))
def test_a_machine_that_goes_to_and_fro_is_not_put_down_to_the_variant_that_runs(live, clock, seed):
    rng = np.random.default_rng(seed)
    call(live, clock, ["dense"], noise(rng, 1000))
    for _ in range(75):
        ratio, count = rng.choice([1.0, 1.7]), rng.integers(20, 80)
        call(live, clock, ["small"], ratio * noise(rng, int(count)))
    call(live, clock, ["small"], noise(rng, 200))
    for name in RECORDED_MS:
        assert believed(live, name) == pytest.approx(1.0, rel=0.1), name


def test_a_slow_drift_is_followed(live, clock, rng):
    settle(live, clock, rng)
    call(live, clock, ["dense"], np.linspace(1.0, 2.0, 3000) * noise(rng, 3000))
    assert believed(live, "dense") == pytest.approx(2.0, rel=0.1)


def test_a_wider_spread_raises_the_90th_percentile_alone(live, clock, rng):
    factors = noise(rng, 1000)
    factors[::6] *= 2.0
    call(live, clock, ["dense"], factors)
    wanted = np.percentile(factors, 90) / 1.07
    assert live.factors(False).common_ratio == pytest.approx(wanted, rel=0.15)
    assert np.exp(live.ratios[0].common) == pytest.approx(1.0, rel=0.07)


def test_a_narrower_spread_than_was_recorded_of_one_makes_no_other_faster(live, clock, rng):
    call(live, clock, ["dense"], np.ones(1000))
    assert live.ratios[0].tail < 0.97
    assert live.factors(False).common_ratio == pytest.approx(1.0, abs=0.01)


def test_what_the_moment_added_fades_without_calls_and_the_machine_stays(live, clock, rng):
    call(live, clock, ["dense"], 1.5 * noise(rng, 200))
    before = believed(live, "dense")
    clock.now_s += 3600.0
    live.learn()
    assert 1.15 < believed(live, "dense") < before
    clock.now_s += 365 * 86400.0
    live.learn()
    assert believed(live, "dense") == pytest.approx(1.0, abs=0.02)


def test_calls_that_come_apart_are_compared_with_the_cold_latency(live, clock, rng):
    call(live, clock, ["dense"], 1.4 * noise(rng, 200), pause_s=0.05)
    assert believed(live, "dense", cold=True) == pytest.approx(1.4, rel=0.05)
    assert live.factors(False) == live.factors(True)  # of hot calls nothing else is known
    call(live, clock, ["dense"], noise(rng, 200))
    assert believed(live, "dense") == pytest.approx(1.0, rel=0.07)


def test_a_load_that_is_foretold_counts_until_calls_show_what_is_true(live, clock, rng):
    live.expect(1.5)
    assert believed(live, "dense") == pytest.approx(1.5)
    call(live, clock, ["dense"], noise(rng, 200))
    assert believed(live, "dense") == pytest.approx(1.0, rel=0.07)
    live.expect(1.0)
    assert believed(live, "dense") > 0.75
    call(live, clock, ["dense"], noise(rng, 50))
    assert believed(live, "dense") == pytest.approx(1.0, rel=0.07)


def test_cells_are_told_apart_by_the_combinations_they_run_in(live, clock, rng):
    """A combination gives one time; what its cells share of it is fitted."""
    truth = {"dense": 1.0, "small": 1.6, "tiny": 1.0}
    for _ in range(20):
        for names in (["dense", "small"], ["dense", "tiny"], ["small", "tiny"], ["dense"]):
            usual = sum(RECORDED_MS[name] for name in names)
            ratio = sum(RECORDED_MS[name] * truth[name] for name in names) / usual
            call(live, clock, names, ratio * noise(rng, 30))
    for name, ratio in truth.items():
        assert believed(live, name) == pytest.approx(ratio, rel=0.12), name


def test_a_variant_without_recorded_figures_is_counted_and_corrects_nothing(clock):
    live = Live({"a": Recorded(), "b": Recorded(p90_ms=1.0)}, clock)
    track = live.track(("a",))
    for _ in range(100):
        clock.now_s += 0.5
        live.note(track, clock.now_s - 0.4)
    live.learn()
    assert track.calls_count == 100
    assert live.factors(False).common_ratio == live.factors(True).common_ratio == 1.0


@pytest.mark.parametrize("ms", [0.0, 1e-300, 1e300])
def test_a_recorded_figure_that_no_call_takes_is_none(clock, rng, ms):
    live = Live({"dense": Recorded(p50_ms=ms, p90_ms=ms)}, clock)
    call(live, clock, ["dense"], noise(rng, 100))
    assert live.factors(False).common_ratio == 1.0


def test_where_one_percentile_is_recorded_the_other_is_learnt(clock, rng):
    """The median is then compared with the 90th percentile, and the spread makes up for it."""
    live = Live({"dense": Recorded(p90_ms=1.07)}, clock)
    call(live, clock, ["dense"], 2.0 * noise(rng, 500))
    assert believed(live, "dense") == pytest.approx(2.0, rel=0.08)


def test_a_clock_that_does_not_move_harms_nothing(live, clock):
    track = live.track(("dense",))
    for _ in range(100):
        live.note(track, clock.now_s)
    live.learn()
    assert np.isfinite(believed(live, "dense"))


def test_memory_is_bounded_whatever_is_called(clock):
    live = Live({str(cell): Recorded(p50_ms=1.0) for cell in range(40)}, clock)
    rng = np.random.default_rng(0)
    kept = live.track(("0",))
    for _ in range(2000):
        names = rng.permutation(40)[:9].astype(str).tolist()
        live.note(live.track(tuple(names)), clock.now_s)
    for _ in range(2000):
        live.note(kept, clock.now_s)
    assert len(live.tracks) <= 257
    assert len(kept.calls) <= 64


def test_calls_of_many_threads_are_all_counted_while_one_learns(live):
    track = live.track(("dense",))
    clock = 0.0

    def work() -> None:
        for _ in range(5000):
            live.note(track, clock)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        live.learn()
    live.learn()
    assert track.calls_count == 20_000
    assert np.isfinite(believed(live, "dense"))
