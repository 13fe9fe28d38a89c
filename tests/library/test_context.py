"""What an app may say of its situation."""

from __future__ import annotations

import numpy as np
import pytest

from adaspring.errors import UsageError
from adaspring.library.context import Context

FIELDS = (
    "battery_ratio",
    "latency_budget_ms",
    "memory_budget_bytes",
    "load_ratio",
    "calls_per_s",
    "energy_left_mj",
    "time_left_s",
)
ODD = (-0.1, float("nan"), float("inf"), 1e300, "", "1", True, np.True_, [], {}, 1j, np.nan)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_is_no_number_or_out_of_range_is_refused_by_the_fields_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .* must be in") as caught:
        Context(**{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("battery_ratio", 1.1),
        ("battery_ratio", 1.5),
        ("battery_ratio", 80),
        ("memory_budget_bytes", "1 GB"),
        ("load_ratio", 10.1),
    ],
)
def test_a_context_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(UsageError, match=f"{field} is .* must be in"):
        Context(**{field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", "", True, 10**400])
def test_a_floor_that_is_no_number_is_refused(value):
    with pytest.raises(UsageError, match=r"metric_floor is .*; it must be a number"):
        Context(metric_floor=value)


@pytest.mark.parametrize("field", FIELDS)
def test_numbers_of_numpy_will_do_and_the_ends_of_the_range(field):
    for value in (0, np.float32(0.5), np.int64(1), 1.0):
        assert getattr(Context(**{field: value}), field) == float(value)


def test_shapes_that_name_no_input_are_refused():
    with pytest.raises(UsageError, match=r"shapes is \{\}; give the shape of each input"):
        Context(shapes={})


def test_nothing_need_be_known():
    assert Context() == Context(battery_ratio=None)
