"""Every operator that an importer may leave, in many forms: built, against the reference."""

import numpy as np
import pytest
import torch
from tvm import relax
from tvm.relax import op

from adaspring import targets
from adaspring.backends.build import prepare, schedule
from adaspring.errors import BuildError
from adaspring.reference.executor import Reference

from ...support.backends import built_and_run, run
from ...support.forms import FORMS, assert_same, model_of_constants, model_of_form
from ...support.models import model_of, single_call


def check(made, folder):
    model, arrays = made
    found = run(model, targets.null(), folder, *arrays)
    for value, wanted in zip(found, Reference(model).run(*arrays), strict=True):
        assert_same(value, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_built_as_the_reference_has_it(name, tmp_path):
    check(model_of_form(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, arrays) in FORMS.items() if len(arrays) > 1])
def test_a_form_of_constants_is_built_as_the_reference_has_it(name, tmp_path):
    check(model_of_constants(name), tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "bool"])
def test_small_integers_and_booleans_are_sorted_as_they_are(dtype, tmp_path):
    values = np.array([[3, 0, 1, 2], [0, 0, 1, 5]]).astype(dtype)
    x = relax.Var("x", relax.TensorType(values.shape, dtype))
    model = model_of([x], {}, lambda x: relax.Tuple([op.sort(x), op.argsort(x, dtype="int64")]))
    found, places = run(model, targets.null(), tmp_path, values)
    assert_same(found, np.sort(values))
    assert_same(np.take_along_axis(values, places, 1), np.sort(values))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_the_largest_of_small_integers_are_found(dtype, tmp_path):
    values = np.array([[3, 0, 1, 2], [4, 0, 1, 5]], dtype)
    x = relax.Var("x", relax.TensorType(values.shape, dtype))
    model = model_of([x], {}, lambda x: _fields(op.topk(x, 2, dtype="int64")))
    found, places = run(model, targets.null(), tmp_path, values)
    assert_same(found, np.array([[3, 2], [5, 4]], dtype))
    assert_same(places, np.array([[0, 3], [3, 0]]))


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid"])
def test_functions_of_booleans_are_built(name, tmp_path):
    values = np.array([[True, False, True]])
    x = relax.Var("x", relax.TensorType(values.shape, "bool"))
    model = model_of([x], {}, lambda x: getattr(op, name)(op.astype(x, "float32")))
    (found,) = run(model, targets.null(), tmp_path, values)
    wanted = getattr(torch, name)(torch.from_numpy(values).float())
    assert_same(found, wanted.numpy())


@pytest.mark.parametrize("name", ["less", "greater_equal", "maximum", "minimum"])
def test_booleans_are_compared_as_numbers(name, tmp_path):
    values = np.array([[True, False, True, False], [True, True, False, False]])
    inputs = [relax.Var(name, relax.TensorType((4,), "bool")) for name in "ab"]
    model = model_of(inputs, {}, getattr(op, name))
    (found,) = run(model, targets.null(), tmp_path, *values)
    assert_same(found, getattr(np, name)(*values))


def _fields(pair):
    both = relax.BlockBuilder.current().emit(pair)
    return relax.Tuple([relax.TupleGetItem(both, 0), relax.TupleGetItem(both, 1)])


def test_a_long_chain_of_operators_is_built_and_has_a_short_name(tmp_path):
    def chain(x):
        for step in range(25):
            x = op.add(op.multiply(x, relax.const(np.float32(1.01 + step / 100))), op.abs(x))
        return x

    x = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    model = single_call(chain, (2, 8))
    prepared = prepare(model, targets.null())
    names = [record.name for record in schedule(prepared, None).functions]
    assert max(map(len, names)) < 200
    (found,) = built_and_run(prepared, tmp_path, x)
    assert_same(found, Reference(model).run(x)[0])


def test_integers_divided_by_a_constant_zero_are_refused():
    x = relax.Var("x", relax.TensorType((2, 8), "int32"))
    model = model_of([x], {}, lambda x: op.divide(x, relax.const(0, "int32")))
    with pytest.raises(BuildError, match="divides integers by 0"):
        prepare(model, targets.null())


def test_a_network_that_gives_back_its_input_is_built(tmp_path):
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    model = model_of([x], {}, lambda x: x)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = run(model, targets.null(), tmp_path, values)
    assert_same(found, values)
