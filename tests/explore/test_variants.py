"""The probe: inputs that fit any network, and a comparison that knows NaN and infinity."""

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from adaspring.explore.variants import agreement_ratio, make_probe
from adaspring.frontend.data import Dataset
from adaspring.ir.index_ranges import index_ranges
from adaspring.reference.executor import Reference, evaluate

from ..support.models import model_of

NAN, INF = float("nan"), float("inf")


def tensor(name, shape, dtype="float32"):
    return relax.Var(name, relax.TensorType(shape, dtype))


def test_a_networks_indices_are_drawn_over_all_that_it_looks_up():
    x = tensor("x", (1, 400), "int32")
    table = {"table": np.arange(37 * 2, dtype=np.float32).reshape(37, 2)}
    model = model_of(
        [x], table, lambda x, t: op.take(t, op.reshape(op.astype(x, "int64"), (400,)), 0)
    )
    drawn = make_probe(model, None).inputs[0]
    assert index_ranges(model) == {"x": 37}
    assert (drawn.min(), drawn.max()) == (0, 36)


def test_an_index_that_two_tables_share_fits_the_smaller():
    x = tensor("x", (1, 9), "int64")
    weights = {"a": np.ones((7, 2), np.float32), "b": np.ones((5, 2), np.float32)}
    model = model_of([x], weights, lambda x, a, b: op.add(op.take(a, x, 0), op.take(b, x, 0)))
    assert index_ranges(model) == {"x": 5}


def test_what_is_looked_up_is_no_index():
    model = model_of(
        [tensor("x", (3, 4), "int64")], {}, lambda x: op.take(x, relax.const([0, 2], "int64"), 0)
    )
    assert index_ranges(model) == {}


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 255), ("int8", -128, 127), ("int32", 0, 255), ("int64", 0, 255), ("bool", 0, 1)],
)
def test_other_integers_are_drawn_over_a_byte(dtype, low, high):
    model = model_of([tensor("x", (1, 4000), dtype)], {}, lambda x: op.astype(x, "float32"))
    drawn = make_probe(model, None).inputs[0].astype(int)
    assert (drawn.min(), drawn.max()) == (low, high)


def test_a_mask_is_drawn_of_zeros_and_ones_where_others_leave_nothing_finite():
    x, mask = tensor("x", (1, 6)), tensor("mask", (1, 6), "int64")
    least, one = (relax.const(np.float32(v)) for v in (np.finfo("float32").min, 1))

    def masked(x, mask):
        hidden = op.multiply(op.subtract(one, op.astype(mask, "float32")), least)
        return op.nn.softmax(op.add(x, hidden))

    probe = make_probe(model_of([x, mask], {}, masked), None)
    assert set(np.unique(probe.inputs[1])) == {0, 1}
    assert np.isfinite(probe.dense_outputs[0]).all()


def test_a_recurrent_state_and_a_number_need_no_batch():
    inputs = [tensor("x", (1, 3)), tensor("state", (2, 1, 3)), tensor("gain", ())]

    def body(x, state, gain):
        moved = op.multiply(op.add(state, x), gain)
        return relax.Tuple([op.sum(moved, axis=[0]), moved])

    model = model_of(inputs, {}, body)
    probe = make_probe(model, None)
    assert [value.shape for value in probe.inputs] == [(8, 3), (8, 2, 1, 3), (8,)]
    total, moved = evaluate(model, Dataset(inputs=probe.inputs))
    x, state, gain = probe.inputs
    wanted = (state + x[:, None, None]) * gain[:, None, None, None]
    np.testing.assert_allclose(moved, wanted, rtol=1e-6)
    np.testing.assert_allclose(total, wanted.sum(axis=1)[:, 0], rtol=1e-5)
    one = Reference(model).run(x[:1], state[0], gain[0])
    np.testing.assert_allclose(one[1], wanted[0], rtol=1e-6)


def test_a_network_of_numbers_alone_runs():
    model = model_of([tensor("x", ())], {}, lambda x: op.add(x, op.full((), relax.const(2.0))))
    probe = make_probe(model, None)
    (found,) = evaluate(model, Dataset(inputs=probe.inputs))
    np.testing.assert_array_equal(found, probe.inputs[0] + 2)


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [
        ([1.0, NAN, INF], [1.0, NAN, INF], 0.0),
        ([1.0, 0.0], [1.0, NAN], INF),
        ([1.0, NAN], [1.0, 2.0], INF),
        ([1.0, INF], [1.0, -INF], INF),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        ([NAN, NAN], [NAN, NAN], 0.0),
        ([0.0, 1e-9], [0.0, 0.0], 1e-7),
    ],
)
def test_outputs_are_compared_as_ieee_has_them(ours, theirs, wanted):
    assert agreement_ratio([np.array(ours)], [np.array(theirs)]) == pytest.approx(wanted)
