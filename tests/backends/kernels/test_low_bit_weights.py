"""Weights of 8 or 4 bits under float activations stay so in the library; the kernels widen them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.backends.kernels import compute, pack
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.lower import lower
from adaspring.backends.report.functions import functions_of
from adaspring.ir.layers import layers, macs_count
from adaspring.library.loader import load
from adaspring.passes import WeightOnly
from adaspring.reference.executor import Reference

from ...support import networks
from ...support.backends import library_of, run, run_fresh
from ...support.boards import HOST, NULL
from ...support.float64 import assert_summed_in_float32, drawn, expected_conv2d
from ...support.kernels import run_kernel
from ...support.models import model_of
from ...support.outputs import assert_close
from ...support.passes import Small, data, imported, known

pytestmark = pytest.mark.slow

EXAMPLES = settings(max_examples=10, deadline=None)
SETTINGS = [
    WeightOnly(),
    WeightOnly(group_size=16),
    WeightOnly(bits=4),
    WeightOnly(bits=4, group_size=32),
]
GRIDS = {"bits": st.sampled_from([4, 8]), "group_size": st.sampled_from([None, 2, 6, 8, 32])}


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
def test_a_dense_layer_sums_products_of_quantized_values(seed, shape, transposed):
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
    assert_summed_in_float32(run_fresh(model, x), a @ b, np.abs(a) @ np.abs(b), k + 1)


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    groups=st.sampled_from([1, 1, 2, 6]),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 21)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_a_convolution_sums_products_of_quantized_values(seed, groups, channels, kernel, padding):
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
    assert_summed_in_float32(
        run_fresh(model, x), exact, magnitude, into * kernel[0] * kernel[1] + 1
    )


def unpacked(model):
    """The weight of the one layer in float64, (outputs, features), from what the network stores."""
    (layer,) = layers(model)
    stored, outputs = model.weights[layer.weight], layer.weight_shape[layer.output_axis]
    features = np.prod(layer.weight_shape) // outputs
    scales = model.weights[f"{layer.weight}_scale"].astype(np.float64)
    if stored.dtype == np.uint8:
        stored = np.concatenate([stored % 16, stored // 16], axis=1).astype(np.float64) - 8
    if not layer.stored.by_rows:
        stored = np.moveaxis(stored, layer.output_axis, 0)
    rows = stored.reshape(len(scales), -1) * scales[:, None]
    return rows.reshape(outputs, -1)[:, :features]


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 5), st.integers(2, 67), st.integers(8, 40)),
    transposed=st.booleans(),
    **GRIDS,
)
def test_a_dense_layer_reads_groups_and_4_bits(seed, shape, transposed, bits, group_size):
    rows, k, n = shape
    x, w = drawn(seed, (rows, k)), drawn(seed + 1, (n, k) if transposed else (k, n))
    flip = relax.op.permute_dims if transposed else (lambda w: w)
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))],
        {"layer.weight": w},
        lambda x, w: relax.op.matmul(x, flip(w)),
    )
    small = narrowed(model, WeightOnly(bits=bits, group_size=group_size))
    if small.weights["layer.weight"].dtype == np.float32:
        return  # it would not have been smaller
    a, b = x.astype(np.float64), unpacked(small).T
    assert_summed_in_float32(run_fresh(small, x), a @ b, np.abs(a) @ np.abs(b), k + 2)


@EXAMPLES
@given(
    seed=st.integers(0, 2**31),
    channels=st.tuples(st.integers(1, 19), st.integers(8, 21)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    **GRIDS,
)
def test_a_convolution_reads_groups_and_4_bits(seed, channels, kernel, padding, bits, group_size):
    into, out = channels
    x, w = drawn(seed, (2, into, 7, 6)), drawn(seed + 1, (out, into, *kernel))
    model = model_of(
        [relax.Var("x", relax.TensorType(x.shape, "float32"))],
        {"layer.weight": w},
        lambda x, w: relax.op.nn.conv2d(x, w, padding=padding),
    )
    small = narrowed(model, WeightOnly(bits=bits, group_size=group_size))
    if small.weights["layer.weight"].dtype == np.float32:
        return
    reals = unpacked(small).reshape(w.shape)
    exact, magnitude = expected_conv2d(x.astype(np.float64), reals, (1, 1), padding, (1, 1), 1)
    terms = into * kernel[0] * kernel[1] + 2
    assert_summed_in_float32(run_fresh(small, x), exact, magnitude, terms)


@pytest.mark.parametrize("board", [HOST, NULL], ids=["host", "null"])
def test_every_tile_reads_words_of_eight_values(board):
    isa = instruction_set(board)
    x = drawn(0, (6, 19))
    w = np.random.default_rng(1).integers(-8, 8, (19, 40)).astype(np.int8)
    scales = np.abs(drawn(2, (40, 4))) + np.float32(0.1)
    packed = pack.pack_words(pack.pack_dense(w, isa.float_lanes, 8))
    grouped = pack.pack_scales(scales, isa.float_lanes, 4)
    reals = w * np.repeat(scales, 6, axis=1).T[:19].astype(np.float64)
    settings_ = {"every_tile": True, "channels": 40}
    for found in run_kernel(compute.dense, [x, packed], isa, **settings_):
        np.testing.assert_allclose(found, x.astype(np.float64) @ w, rtol=1e-5, atol=1e-4)
    operands, settings_["group_size"] = [x, packed, grouped], 6
    for found in run_kernel(compute.dense, operands, isa, **settings_):
        np.testing.assert_allclose(found, x.astype(np.float64) @ reals, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
@pytest.mark.parametrize("network", [networks.TinyEncoder, networks.SmallResNet])
@pytest.mark.parametrize("board", [HOST, NULL], ids=["host", "null"])
def test_a_network_agrees_with_the_reference(network, board, setting, tmp_path):
    model = narrowed(known(network), setting)
    inputs = [array[:1] for array in data(model, 1, seed=3).inputs]
    kernels = instruction_set(board)
    assert_close(
        run(model, HOST, tmp_path, *inputs, isa=kernels), Reference(model).run(*inputs), 1e-4
    )


@pytest.mark.parametrize("network", [networks.TinyEncoder, networks.SmallResNet])
def test_weights_stay_int8_in_the_library(network):
    model = narrowed(known(network))
    lowered = lower(model, instruction_set(HOST))
    low_bit = {name for name, array in model.weights.items() if array.dtype == np.int8}
    assert low_bit
    assert {name for name, array in lowered.weights.items() if array.dtype == np.int8} == low_bit
    assert not low_bit & lowered.direct


@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
@pytest.mark.parametrize("network", [networks.Mlp, networks.SmallResNet])
def test_a_library_holds_no_more_than_the_network_and_its_padding(network, setting):
    model = narrowed(known(network), setting)
    packed = lower(model, instruction_set(HOST)).weights
    stored = sum(array.nbytes for array in model.weights.values())
    assert sum(array.nbytes for array in packed.values()) < 1.05 * stored


def test_a_few_inputs_stay_a_byte_each():
    """A word would be as large, and seven of its eight inputs padding."""
    packed = lower(narrowed(known(networks.SmallCnn), WeightOnly(bits=4)), instruction_set(HOST))
    dtypes = {name: array.dtype.name for name, array in packed.weights.items()}
    assert (dtypes["conv1.weight"], dtypes["conv2.weight"]) == ("int8", "uint32")


def test_a_weight_that_is_read_by_two_layers_is_held_once(tmp_path):
    net = Small(lambda self, x: self.a(self.b(self.a(x))), a=nn.Linear(32, 32), b=nn.Linear(32, 32))
    model = narrowed(imported(net, (1, 32)), WeightOnly(bits=4, group_size=8))
    names = lower(model, instruction_set(HOST)).weights
    assert [name for name in names if name.startswith("a.weight")] == ["a.weight", "a.weight_scale"]
    x = drawn(0, (1, 32))
    assert_close(run(model, HOST, tmp_path, x), Reference(model).run(x), 1e-5)


@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
def test_the_functions_say_that_floats_are_multiplied(setting):
    model = narrowed(known(networks.SmallCnn), setting)
    prepared = prepare(model, HOST)
    found = functions_of(prepared.module, tuple(prepared.weights))
    multiplied = [function for function in found if function.macs_count]
    assert {function.dtype for function in multiplied} == {"float32"}
    assert {layer for function in multiplied for layer in function.layers} == {
        "conv1", "conv2", "fc1", "fc2",
    }  # fmt: skip
    assert sum(function.macs_count for function in found) == macs_count(model)


@pytest.mark.usefixtures("aarch64_linker")
def test_4_bits_are_built_for_a_gpu(tmp_path):
    model = narrowed(known(networks.SmallCnn), WeightOnly(bits=4, group_size=32))
    built = build(prepare(model, targets.find("rock-5b-mali")), None, tmp_path / "code.so")
    assert b"__kernel void" in built.code.read_bytes()
    assert built.weights["fc1.weight"].dtype == np.uint32


def weight_bytes(folder):
    return sum(file.stat().st_size for file in (folder / "weights").iterdir())


@pytest.mark.parametrize(
    ("setting", "share"),
    [(WeightOnly(), 0.27), (WeightOnly(bits=4, group_size=32), 0.18)],
    ids=repr,
)
def test_a_library_is_smaller_and_gives_the_same(setting, share, tmp_path):
    model = known(networks.SmallCnn)
    small = narrowed(model, setting)
    whole = library_of(model, HOST, tmp_path / "whole.lib")
    low_bit = library_of(small, HOST, tmp_path / "small.lib")
    assert weight_bytes(low_bit) < share * weight_bytes(whole)
    x = data(model, 1, seed=3).inputs[0]
    assert_close([load(low_bit).open()(x)], Reference(small).run(x), 1e-4)
