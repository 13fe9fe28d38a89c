from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from tvm import relax

from adaspring.explore.contenders import join_shapes
from adaspring.explore.gate import Contender, dominated_by, refusal
from adaspring.explore.request import Bounds
from adaspring.library.manifest import Cost, Figure, MetricFigure
from adaspring.metrics.classes import TOP1

from ..support.models import model_of

X = relax.Var("x", relax.TensorType((1, 2), "float32"))
LEVELS = relax.const(np.float32(0.1)), relax.const(np.array(3, "uint8"))
FLOAT = model_of([X], {}, relax.op.nn.relu)
INT8 = model_of([X], {}, lambda x: relax.op.quantize(x, *LEVELS, out_dtype="uint8"))


def figure(value: float) -> Figure:
    when = datetime.now(UTC).isoformat()
    return Figure(value=value, origin="measured", how="a test", when=when)


def judged(value: float, metric=TOP1) -> MetricFigure:
    when = datetime.now(UTC).isoformat()
    return MetricFigure(
        name=metric.name,
        direction=metric.direction,
        value=value,
        origin="measured",
        how="a test",
        when=when,
    )


def contender(
    name: str,
    *,
    model=FLOAT,
    ratio=0.5,
    agreement=1e-6,
    value=0.9,
    metric=TOP1,
    ms=1.0,
    fault=None,
    **cost,
):
    return Contender(
        variant=SimpleNamespace(name=name, model=model),
        cost=Cost(
            size_bytes=figure(cost.get("size", 100)),
            macs_count=figure(1),
            latency_p50_ms=figure(ms),
            latency_p90_ms=figure(1.1 * ms),
            validation_metric=None if value is None else judged(value, metric),
        ),
        agreement_ratio=agreement,
        fault=fault,
        latency_ratio=ratio,
    )


DENSE = contender("dense", ratio=1.0)
BOUNDS = Bounds(max_drop=0.01)


def test_a_faster_variant_that_keeps_accuracy_enters():
    assert refusal(DENSE, contender("pruned"), BOUNDS, TOP1) is None
    assert refusal(DENSE, DENSE, BOUNDS, TOP1) is None


def test_a_variant_slower_than_dense_never_enters():
    assert "not faster than dense: 1.10" in refusal(
        DENSE, contender("int8", ratio=1.1), BOUNDS, TOP1
    )


def test_a_fall_of_accuracy_beyond_the_bound_is_refused():
    reason = refusal(DENSE, contender("pruned", value=0.88), BOUNDS, TOP1)
    assert "2.0 points" in reason
    assert refusal(DENSE, contender("pruned", value=0.88), Bounds(max_drop=0.03), TOP1) is None


@pytest.mark.parametrize("error", [2e-3, float("nan"), float("inf")])
def test_wrong_outputs_are_refused_even_of_the_dense_network(error):
    wrong = contender("dense", agreement=error, ratio=1.0)
    assert "differ from the reference" in refusal(wrong, wrong, BOUNDS, TOP1)


def test_an_integer_network_may_differ_by_more_than_a_float_one():
    assert refusal(DENSE, contender("int8", model=INT8, agreement=2e-3), BOUNDS, TOP1) is None
    assert refusal(DENSE, contender("int8", model=INT8, agreement=0.1), BOUNDS, TOP1) is not None


def test_a_latency_bound_refuses_what_is_slower():
    bounds = Bounds(max_drop=0.01, latency_ms=1.0)
    assert "above the asked 1 ms" in refusal(DENSE, DENSE, bounds, TOP1)
    assert refusal(DENSE, contender("pruned", ms=0.5), bounds, TOP1) is None


def test_what_was_not_run_is_not_refused_for_its_speed():
    unknown = contender("pruned", ratio=None, agreement=None)
    assert refusal(DENSE, unknown, BOUNDS, TOP1) is None


def test_a_variant_that_another_beats_in_everything_is_dominated():
    better, worse = contender("a", ms=1.0, size=50), contender("b", ms=1.0, size=60)
    assert dominated_by(worse, [better]) is better
    assert dominated_by(better, [worse]) is None


def test_variants_that_trade_one_figure_for_another_both_stay():
    fast, small = contender("a", ms=1.0, size=60), contender("b", ms=2.0, size=50)
    assert dominated_by(fast, [small]) is None
    assert dominated_by(small, [fast]) is None


def test_equal_variants_do_not_dominate_each_other():
    assert dominated_by(contender("a"), [contender("b")]) is None


def at_two_shapes(name: str, first: dict, second: dict) -> Contender:
    return replace(contender(name, **first), further_shapes=(contender(name, **second),))


TWO = at_two_shapes("dense", {"ratio": 1.0, "ms": 2.0}, {"ratio": 1.0, "ms": 8.0})


@pytest.mark.parametrize("ratios", [(1.1, 0.5), (0.5, 1.1), (0.5, 0.5)])
def test_a_variant_that_is_faster_at_one_shape_enters(ratios):
    faster = at_two_shapes("a", *({"ratio": ratio} for ratio in ratios))
    assert refusal(TWO, faster, BOUNDS, TOP1) is None


def test_a_variant_that_is_slower_at_every_shape_does_not():
    slow = at_two_shapes("a", {"ratio": 1.1}, {"ratio": 1.2})
    assert refusal(TWO, slow, BOUNDS, TOP1) == "not faster than dense: 1.10, 1.20 of its time"


@pytest.mark.parametrize("wrong", [({"agreement": 0.1}, {}), ({}, {"agreement": float("nan")})])
def test_wrong_outputs_at_any_shape_are_refused_and_the_shape_is_named(wrong):
    reason = refusal(TWO, at_two_shapes("a", *wrong), BOUNDS, TOP1)
    assert reason.startswith("at x=1,2: its outputs differ from the reference")


def test_a_latency_bound_holds_at_every_shape():
    bounds = Bounds(max_drop=0.01, latency_ms=5.0)
    assert "above the asked 5 ms" in refusal(TWO, TWO, bounds, TOP1)
    assert refusal(TWO, at_two_shapes("a", {"ms": 1.0}, {"ms": 4.0}), bounds, TOP1) is None


def test_a_variant_is_dominated_by_what_is_no_worse_at_every_shape():
    one = at_two_shapes("a", {"ms": 1.0}, {"ms": 4.0})
    other = at_two_shapes("b", {"ms": 1.0}, {"ms": 5.0})
    trade = at_two_shapes("c", {"ms": 0.5}, {"ms": 6.0})
    assert dominated_by(other, [one]) is one
    assert dominated_by(one, [other]) is None
    assert dominated_by(trade, [one, other]) is None


def test_the_metric_of_the_first_shape_is_that_of_all():
    (joined,) = join_shapes([[contender("a", value=0.7)], [contender("a", value=None)]])
    assert [each.validation_metric for each in joined.at_shapes] == [0.7, 0.7]
