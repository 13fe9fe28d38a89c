"""Which combinations run by what was measured of them: those alone that the bounds allow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adaspring.explore.cells.predictions import within_bounds
from adaspring.explore.combinations.choices import Choices
from adaspring.explore.request import Bounds
from adaspring.library.pieces.composition import Combination
from adaspring.library.records import MetricFigure
from adaspring.metrics import Metric

from ...support.libraries import WHEN

KINDS = ("dense", "half")
CHOICES = Choices(kinds=(KINDS, KINDS))


def measured(direction: str, **values: float | None) -> list[Combination]:
    found = []
    for name, value in values.items():
        figure = None
        if value is not None:
            figure = MetricFigure(
                name="any", direction=direction, value=value, origin="measured", how="x", when=WHEN
            )
        found.append(Combination(cells=tuple(name.split("_")), validation_metric=figure))
    return found


def allowed(combinations: list[Combination], direction: str, bounds: Bounds) -> list[str]:
    metric = Metric(name="any", direction=direction, function=lambda outputs, targets: 0.0)
    plan = SimpleNamespace(metric=metric, bounds=bounds)
    return [
        each.name for each in within_bounds(combinations, SimpleNamespace(choices=CHOICES), plan)
    ]


SHARES = {"dense_dense": 0.93, "half_dense": 0.92, "dense_half": 0.915, "half_half": 0.9}


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        (Bounds(), ["dense/dense", "half/dense", "dense/half", "half/half"]),
        (Bounds(max_drop=0.02), ["dense/dense", "half/dense", "dense/half"]),
        (Bounds(max_drop=0.011), ["dense/dense", "half/dense"]),
        (Bounds(min_metric=0.918), ["dense/dense", "half/dense"]),
        (Bounds(max_drop=0.02, min_metric=0.925), ["dense/dense"]),
    ],
)
def test_cells_that_lose_too_much_together_do_not_run_though_each_may_alone(bounds, names):
    assert allowed(measured("higher", **SHARES), "higher", bounds) == names


def test_of_an_error_the_larger_is_the_worse():
    errors = {"dense_dense": 0.10, "half_dense": 0.12, "dense_half": 0.09, "half_half": 0.2}
    found = allowed(measured("lower", **errors), "lower", Bounds(max_drop=0.03))
    assert found == ["dense/dense", "half/dense", "dense/half"]
    found = allowed(measured("lower", **errors), "lower", Bounds(min_metric=0.1))
    assert found == ["dense/dense", "dense/half"]
