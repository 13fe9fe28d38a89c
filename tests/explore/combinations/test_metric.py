"""What a prediction says of itself, and what the app's search and a manifest get of it."""

import json

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.explore.combinations.chain import ChainSum
from adaspring.explore.combinations.choices import Choices
from adaspring.explore.combinations.metric import HeldOut, predict
from adaspring.library.evolve.space import Segment, Space

CHOICES = Choices(kinds=(("dense", "int8", "bf16"), ("dense", "int8", "pruned"), ("dense", "int8")))
CELLS = tuple(np.array(held) for held in ([0, -0.01, 0], [0, -0.02, -0.05], [0, -0.01]))
CROSSINGS = (np.zeros((3, 3)), np.array([[0, 0], [0, 0.01], [0, -0.02]]))
CHAIN = ChainSum(base=0.9, cells=CELLS, crossings=CROSSINGS)
EVERY = list(CHOICES.all())


def off_by(errors, **more):
    """Held-out combinations that measure so much more than predicted."""
    chosen = EVERY[: len(errors)]
    values = CHAIN.of(chosen) + np.array(errors)
    return HeldOut(measured=dict(zip(chosen, values.tolist(), strict=True)), **more)


def judge(*groups, least=-np.inf, **more):
    return predict(CHAIN, groups, CHOICES, least, **more)


def _segment(kinds, figures):
    """Cells of which nothing but the metric is known."""
    unknown = {name: np.full(len(kinds), np.nan) for name in Segment.__dataclass_fields__}
    return Segment(**{**unknown, "names": kinds, "metric": np.array(figures)})


def test_the_app_adds_up_what_was_predicted():
    found = judge(off_by([0.001] * 18))
    segments = tuple(_segment(*each) for each in zip(CHOICES.kinds, found.cells, strict=True))
    space = Space(segments=segments, **found.space_fields())
    for cells in EVERY:
        metric = space.metric_base + sum(
            segment.metric[cell] for segment, cell in zip(space.segments, cells, strict=True)
        )
        metric += sum(
            crossing[a, b]
            for crossing, a, b in zip(space.crossing_metric, cells, cells[1:], strict=False)
        )
        assert metric == pytest.approx(found.of([cells])[0])


def test_one_sided_errors_widen_one_bound_alone():
    better = judge(off_by([0.03] * 18, is_all=True))
    assert (better.bound.value, better.shortfall_bound.value) == (pytest.approx(0.03), 0)
    worse = judge(off_by([-0.03] * 18, is_all=True))
    assert worse.shortfall_bound.value == pytest.approx(0.03)


def test_too_few_held_out_bound_nothing_and_let_only_verified_ones_run():
    found = judge(off_by([0.0] * 18))
    assert found.bound.value == np.inf
    assert found.only_verified
    assert found.space_fields()["metric_bound"] == np.inf


@pytest.mark.parametrize(("error", "poor"), [(0.01, False), (0.04, True)])
def test_a_bound_of_more_than_a_third_of_what_may_be_lost_is_poor(error, poor):
    found = judge(off_by([error] * 18, is_all=True), least=0.8)
    assert found.error_share_ratio == pytest.approx(error / 0.1)
    assert found.only_verified == poor


def test_where_all_may_be_lost_the_range_is_that_of_the_held_out_ones():
    found = judge(off_by([0.01, -0.01] * 9, is_all=True))
    values = CHAIN.of(EVERY) + np.array([0.01, -0.01] * 9)
    assert found.error_share_ratio == pytest.approx(0.01 / np.ptp(values))


def test_each_law_has_its_bound_and_the_widest_counts():
    narrow, wide = off_by([0.001] * 18, is_all=True), off_by([0.02] * 3, is_all=True)
    found = judge(narrow, wide)
    assert found.bound.value == pytest.approx(0.02)
    assert found.bound.held_out_count == 21
    assert judge(wide, off_by([0.0] * 10)).bound.coverage_ratio == 0.95


def test_what_was_drawn_with_a_lead_bounds_no_less():
    assert judge(off_by([0.001] * 18, is_all=True, lead=0.015)).bound.value == 0.015


def test_larger_errors_of_what_may_run_count_alone_too():
    choices = Choices(kinds=(("dense", *map(str, range(199))),))
    chain = ChainSum(base=0.0, cells=(np.linspace(0.9, 0.5, 200),))
    errors = np.where(np.arange(200) % 25 == 0, 0.05, 0.0) * (np.arange(200) < 100)
    measured = {(i,): float(chain.of([(i,)])[0] - errors[i]) for i in range(200)}
    everywhere = predict(chain, [HeldOut(measured=measured)], choices, -np.inf)
    near_the_top = predict(chain, [HeldOut(measured=measured)], choices, 0.8)
    assert everywhere.bound.value == pytest.approx(0, abs=1e-9)
    assert near_the_top.bound.value == pytest.approx(0.05)


def test_noise_of_data_is_added_and_each_half_is_surer():
    assert judge(off_by([0.01] * 18)).fresh_bound is None
    found = judge(off_by([0.01] * 18, is_all=True), data_noise=0.02)
    assert found.fresh_bound.value == pytest.approx(0.03)


def test_too_few_that_may_run_do_not_make_the_bound_infinite():
    choices = Choices(kinds=(("dense", *map(str, range(99))),))
    chain = ChainSum(base=0.0, cells=(np.linspace(0.9, 0.801, 100),))
    measured = {(i,): float(chain.of([(i,)])[0]) - 0.07 for i in range(100)}
    found = predict(chain, [HeldOut(measured=measured)], choices, 0.8, data_noise=0.02)
    assert found.fresh_bound.value == pytest.approx(0.09)


def test_what_may_not_run_needs_no_bound():
    errors = np.where(CHAIN.of(EVERY) < 0.85, -0.5, 0.002)
    found = judge(off_by(errors, is_all=True), least=0.85)
    assert 0 < np.sum(CHAIN.of(EVERY) < 0.85) < len(EVERY)
    assert found.bound.value == pytest.approx(0.002)


def test_plain_data_are_json_without_infinities():
    found = judge(off_by([0.0] * 18))
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["bound"]["value"] is None
    assert plain["base"] == 0.9
    assert plain["crossings"][1] == [[0, 0], [0, 0.01], [0, -0.02]]
    assert hash(found) == hash(judge(off_by([0.0] * 18)))


def test_errors_are_told_by_quantiles():
    found = judge(off_by([0.001] * 10 + [-0.003] * 7 + [0.01], is_all=True))
    told = dict(found.errors)
    assert (told[0.5], told[1.0]) == (pytest.approx(0.001), pytest.approx(0.01))


@pytest.mark.parametrize("groups", [(), (HeldOut(measured={}),)])
def test_a_prediction_that_nothing_judges_is_refused(groups):
    with pytest.raises(UsageError, match="no combination was held out"):
        judge(*groups)


def test_held_out_figures_that_are_none_are_refused():
    with pytest.raises(UsageError, match="dense/int8/dense measured nan"):
        judge(HeldOut(measured={(0, 1, 0): np.nan}))
