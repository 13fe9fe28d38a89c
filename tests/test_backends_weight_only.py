"""Int8 weights under float activations stay int8 in the library, and the kernels widen them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.functions import functions_of
from adaspring.backends.isa import instruction_set
from adaspring.backends.lower import lower
from adaspring.errors import BuildError
from adaspring.library.loader import load
from adaspring.library.manifest import TensorSpec, board_record
from adaspring.library.writer import write_library
from adaspring.passes import WeightOnly
from adaspring.passes.graph import macs_count
from adaspring.passes.reference import Reference
from hypothesis import given
from hypothesis import strategies as st
from tvm import relax

from . import networks
from .backends_helpers import assert_close, model_of, run
from .library_fixtures import parts
from .passes_helpers import data, known
from .test_backends_half import EXAMPLES, assert_summed_in_float32, drawn, expected_conv2d, fresh

HOST, NULL = targets.host(), targets.null()


def narrowed(model, setting=None):
    setting = setting or WeightOnly()
    return setting.apply(model, setting.plan(model, None))


def levels(seed, shape):
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def real(w, scale, axis):
    return relax.op.dequantize(w, scale, relax.const(0, "int8"), axis)


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 67), st.integers(1, 40)),
    transposed=st.booleans(),
)
def test_a_dense_layer_sums_products_of_levels(seed, shape, transposed):
    rows, k, n = shape
    x, w = drawn(seed, (rows, k)), levels(seed + 1, (k, n))
    scale = np.abs(drawn(seed + 2, (n,))) + np.float32(1e-3)

    def body(x, w, s):
        if transposed:
            return relax.op.matmul(x, relax.op.permute_dims(real(w, s, 0)))
        return relax.op.matmul(x, real(w, s, 1))

    weight = np.ascontiguousarray(w.T) if transposed else w
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))],
        {"layer.weight": weight, "layer.weight_scale": scale},
        body,
    )
    a, b = x.astype(np.float64), w.astype(np.float64) * scale
    assert_summed_in_float32(fresh(model, x), a @ b, np.abs(a) @ np.abs(b), k + 1)


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    groups=st.sampled_from([1, 1, 2, 6]),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 21)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_a_convolution_sums_products_of_levels(seed, groups, channels, kernel, padding):
    into, out = channels
    x, w = drawn(seed, (2, into * groups, 7, 6)), levels(seed + 1, (out * groups, into, *kernel))
    scale = np.abs(drawn(seed + 2, (out * groups,))) + np.float32(1e-3)
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))],
        {"layer.weight": w, "layer.weight_scale": scale},
        lambda x, w, s: relax.op.nn.conv2d(x, real(w, s, 0), padding=padding, groups=groups),
    )
    reals = w.astype(np.float64) * scale[:, None, None, None]
    exact, magnitude = expected_conv2d(x.astype(np.float64), reals, (1, 1), padding, (1, 1), groups)
    assert_summed_in_float32(fresh(model, x), exact, magnitude, into * kernel[0] * kernel[1] + 1)


@pytest.mark.parametrize("network", [networks.TinyEncoder, networks.SmallResNet])
@pytest.mark.parametrize("board", [HOST, NULL], ids=["host", "null"])
def test_a_network_agrees_with_the_reference(network, board, tmp_path):
    model = narrowed(known(network))
    inputs = [array[:1] for array in data(model, 1, seed=3).inputs]
    kernels = instruction_set(board)
    assert_close(
        run(model, HOST, tmp_path, *inputs, isa=kernels), Reference(model).run(*inputs), 1e-4
    )


@pytest.mark.parametrize("network", [networks.TinyEncoder, networks.SmallResNet])
def test_weights_stay_int8_in_the_library(network):
    model = narrowed(known(network))
    lowered = lower(model, instruction_set(HOST))
    narrow = {name for name, array in model.weights.items() if array.dtype == np.int8}
    assert narrow
    assert {name for name, array in lowered.weights.items() if array.dtype == np.int8} == narrow
    assert not narrow & lowered.direct


def test_the_functions_say_that_floats_are_multiplied():
    model = narrowed(known(networks.SmallCnn))
    prepared = prepare(model, HOST)
    found = functions_of(prepared.module, tuple(prepared.weights))
    multiplied = [function for function in found if function.macs_count]
    assert {function.dtype for function in multiplied} == {"float32"}
    assert {layer for function in multiplied for layer in function.layers} == {
        "conv1", "conv2", "fc1", "fc2",
    }  # fmt: skip
    assert sum(function.macs_count for function in found) == macs_count(model)


def library_of(model, folder):
    built = build(prepare(model, HOST), None, folder.parent / f"{folder.name}.so")
    base = parts(built.code)
    variant = replace(
        base.variants[0], name="v", functions=built.functions, weights=dict(built.weights)
    )
    inputs, outputs = (
        tuple(TensorSpec(name=s.name, shape=s.shape, dtype=s.dtype) for s in side)
        for side in (model.inputs, model.outputs)
    )
    record = board_record(HOST)
    written = replace(
        base, board=record, inputs=inputs, outputs=outputs, plainest="v", variants=(variant,),
        dropped=(),
    )  # fmt: skip
    write_library(folder, written)
    return sum(file.stat().st_size for file in (folder / "weights").iterdir())


def test_a_library_is_smaller_and_gives_the_same(tmp_path):
    model = known(networks.SmallCnn)
    small = narrowed(model)
    whole_bytes = library_of(model, tmp_path / "whole.lib")
    assert library_of(small, tmp_path / "small.lib") < 0.27 * whole_bytes
    x = data(model, 1, seed=3).inputs[0]
    assert_close([load(tmp_path / "small.lib").open()(x)], Reference(small).run(x), 1e-4)
