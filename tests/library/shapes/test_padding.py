"""Inputs between two shapes are filled up to the larger one, and outputs cut back."""

from __future__ import annotations

import re

import numpy as np
import pytest

from adaspring.errors import InputError
from adaspring.library.manifest import Signature, TensorSpec
from adaspring.library.shapes.choice import Choice
from adaspring.library.shapes.dimensions import free_dimensions, output_axes
from adaspring.library.shapes.faults import padding_faults
from adaspring.library.shapes.padding import Padding


def signature(n: int, t: int, states: int | None = None) -> Signature:
    return Signature(
        inputs=(
            TensorSpec(name="ids", shape=(n, t), dtype="int64"),
            TensorSpec(name="mask", shape=(n, t, 1), dtype="float32"),
        ),
        outputs=(
            TensorSpec(name="scores", shape=(n, 5), dtype="float32"),
            TensorSpec(name="states", shape=(n, states or t, 4), dtype="float32"),
        ),
    )


SIGNATURES = (signature(1, 8), signature(1, 32), signature(4, 16))
PAD = {"ids": 9.0, "mask": 0.0}


def arrays(n: int, t: int) -> list[np.ndarray]:
    return [np.ones((n, t), np.int64), np.ones((n, t, 1), np.float32)]


def test_axes_of_the_same_extents_are_one_dimension():
    batch, length = free_dimensions(SIGNATURES)
    assert (batch.extents, batch.places) == ((1, 1, 4), ((0, 0), (1, 0)))
    assert (length.extents, length.places) == ((8, 32, 16), ((0, 1), (1, 1)))
    assert output_axes(SIGNATURES, (batch, length)) == {(0, 0): 0, (1, 0): 0, (1, 1): 1}


@pytest.mark.parametrize(
    ("given", "index"), [((1, 5), 0), ((1, 9), 1), ((2, 3), 2), ((3, 16), 2), ((1, 32), 1)]
)
def test_the_smallest_shape_that_holds_the_inputs_is_taken(given, index):
    padded = Padding(SIGNATURES, PAD).fit(arrays(*given))
    assert padded.index == index
    for value, spec, fill in zip(padded.inputs, SIGNATURES[index].inputs, (9, 0), strict=True):
        assert (value.shape, value.dtype) == (spec.shape, spec.dtype)
        n, t = given
        assert (value[:n, :t] == 1).all()
        assert value.sum() == n * t + fill * (value.size - n * t)


def test_outputs_are_cut_back_where_the_dimension_reaches_them():
    padded = Padding(SIGNATURES, PAD).fit(arrays(3, 7))
    scores, states = padded.cut([np.ones((4, 5)), np.ones((4, 16, 4))])
    assert scores.shape == (3, 5)
    assert states.shape == (3, 7, 4)
    assert states.flags.c_contiguous


@pytest.mark.parametrize("given", [(1, 33), (2, 17), (5, 1), (1, 0)])
def test_inputs_that_no_shape_holds_are_not_padded(given):
    assert Padding(SIGNATURES, PAD).fit(arrays(*given)) is None


def test_an_axis_that_is_the_same_in_all_shapes_is_not_padded():
    assert Padding(SIGNATURES, PAD).fit([np.ones((1, 5), np.int64), np.ones((1, 5, 2))]) is None
    assert Padding(SIGNATURES, PAD).fit([np.ones(5, np.int64), np.ones((1, 5, 1))]) is None


def test_arrays_of_another_type_are_not_padded():
    ids, mask = arrays(1, 5)
    assert Padding(SIGNATURES, PAD).fit([ids.astype(np.int32), mask]) is None


def test_inputs_that_differ_in_a_shared_dimension_are_refused():
    with pytest.raises(InputError, match="share is 5 in ids, 6 in mask; give the same"):
        Padding(SIGNATURES, PAD).fit([arrays(1, 5)[0], arrays(1, 6)[1]])


def test_without_values_nothing_is_padded():
    assert Choice(SIGNATURES, {}).pad(arrays(1, 5)) is None
    assert Choice(SIGNATURES, PAD).pad(arrays(1, 8)) is None
    assert Choice(SIGNATURES, PAD).pad(arrays(1, 5)).index == 0


@pytest.mark.parametrize(
    ("pad", "message"),
    [
        ({"ids": 0.0}, "input 'mask' has several shapes, and no value"),
        ({**PAD, "x": 0.0}, "'x' is padded, but is no input"),
        ({**PAD, "ids": 0.5}, r"'ids' is int64, which cannot hold 0\.5"),
        ({**PAD, "ids": 1e30}, "cannot hold"),
        ({**PAD, "mask": 1e300}, "'mask' is float32, which cannot hold"),
    ],
)
def test_values_that_cannot_pad_are_named(pad, message):
    (fault,) = padding_faults(SIGNATURES, pad)
    assert re.search(message, fault)


def test_an_output_that_follows_in_another_way_cannot_be_cut():
    halves = (signature(1, 8, 4), signature(1, 16, 8))
    (fault,) = padding_faults(halves, PAD)
    assert "axis 1 of output 'states' follows no free dimension one to one" in fault
