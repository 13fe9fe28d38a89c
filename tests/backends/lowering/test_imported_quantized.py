"""Builds of networks that came quantized compute what ONNX Runtime computes, in integers."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.lowering.lower import lower
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.ir.layers import layers
from adaspring.ir.model import Model

from ...support.backends import run
from ...support.boards import HOST, INT8_KERNELS
from ...support.models import model_of
from ...support.networks import Mlp, MobileNetStyle, SmallResNet, example_inputs
from ...support.quantized_networks import (
    Graph,
    levels,
    output_scale,
    quantized_by_onnx_runtime,
    run_onnx_runtime,
    values,
)


def assert_within_a_level(path, folder, *inputs, isa=None) -> Model:
    model = from_onnx(path)
    found = run(model, HOST, folder, *inputs, isa=isa)
    for f, e in zip(found, run_onnx_runtime(path, *inputs), strict=True):
        assert (f.shape, f.dtype) == (e.shape, e.dtype)
        step = output_scale(path) if f.dtype == np.float32 else 1
        assert np.abs(f.astype(np.float64) - e).max() <= 1.001 * step
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "activations", "per_channel"),
    [(SmallResNet, "QUInt8", True), (MobileNetStyle, "QInt8", True), (Mlp, "QInt8", False)],
)
def test_what_onnx_runtime_quantized_is_built_in_integers(make, activations, per_channel, tmp_path):
    path = quantized_by_onnx_runtime(tmp_path, make, activations, per_channel=per_channel)
    inputs = [x.numpy() for x in example_inputs(make(), seed=7)]
    model = assert_within_a_level(path, tmp_path, *inputs)
    packed = lower(model, instruction_set(HOST)).weights
    assert all(packed[layer.weight].dtype == np.int8 for layer in layers(model))


def one_conv(tmp_path, x, weight, y) -> object:
    """A file of one convolution; `x`, `weight` and `y` add their parts to the graph."""
    graph = Graph(1, 4, 6, 6)
    made = graph.node("Conv", x(graph), weight(graph), pads=[1] * 4)
    name, dtype = y(graph, made)
    return graph.save(tmp_path / "one.onnx", name, dtype=dtype)


FLOATS, BYTES = 1, {"uint8": 2, "int8": 3}
W = levels((6, 4, 3, 3))
CASES = {
    "the whole range of int8 weights": (
        lambda g: g.fake("x"),
        lambda g: g.weight("w", np.where(W < 0, -128, 127).astype(np.int8)),
        lambda g, y: (g.fake(y, 0.5), FLOATS),
    ),
    "int8 activations": (
        lambda g: g.fake("x", 0.05, -5, "int8"),
        lambda g: g.weight("w", W),
        lambda g, y: (g.fake(y, 0.3, -128, "int8"), FLOATS),
    ),
    "levels that leave": (
        lambda g: g.fake("x", 0.05, -5, "int8"),
        lambda g: g.weight("w", W),
        lambda g, y: (g.quantize(y, 0.3, 7, "int8"), BYTES["int8"]),
    ),
    "levels read by another scale": (
        lambda g: g.dequantize(g.quantize("x", 0.05, 100), 0.1, 30),
        lambda g: g.weight("w", W),
        lambda g, y: (g.fake(y, 0.6), FLOATS),
    ),
    "activations by channel": (
        lambda g: g.dequantize(
            g.quantize("x", [0.02, 0.03, 0.04, 0.05], [1, 2, 3, 4], axis=1),
            [0.02, 0.03, 0.04, 0.05],
            [1, 2, 3, 4],
            axis=1,
        ),
        lambda g: g.weight("w", W),
        lambda g, y: (g.fake(y, 0.3), FLOATS),
    ),
    "scales of the inputs": (
        lambda g: g.fake("x"),
        lambda g: g.weight("w", W, [0.01, 0.02, 0.03, 0.04], 0, 1),
        lambda g, y: (g.fake(y, 0.6), FLOATS),
    ),
    "weights alone": (
        lambda g: "x",
        lambda g: g.weight("w", W),
        lambda g, y: (g.fake(y, 0.3), FLOATS),
    ),
    "around an addition and a pool": (
        lambda g: g.fake("x"),
        lambda g: g.weight("w", W),
        lambda g, y: (
            g.fake(
                g.node(
                    "AveragePool",
                    g.fake(g.node("Add", g.fake(y, 0.3), g.fake(y, 0.2, 9)), 0.5),
                    kernel_shape=[2, 2],
                    strides=[2, 2],
                ),
                0.4,
            ),
            FLOATS,
        ),
    ),
    "a concatenation of levels": (
        lambda g: g.dequantize(g.node("Concat", g.quantize("x"), g.quantize("x"), axis=1)),
        lambda g: g.weight("w", levels((6, 8, 3, 3))),
        lambda g, y: (g.fake(y, 0.5), FLOATS),
    ),
    "around a concatenation": (
        lambda g: g.fake("x"),
        lambda g: g.weight("w", W),
        lambda g, y: (
            g.fake(g.node("Concat", g.fake(y, 0.3), g.fake("x"), axis=1), 0.3),
            FLOATS,
        ),
    ),
}


@pytest.mark.parametrize("kernels", ["host", "signed"])
@pytest.mark.parametrize("case", CASES)
def test_a_quantized_convolution_is_built_as_onnx_runtime_has_it(case, kernels, tmp_path):
    path = one_conv(tmp_path, *CASES[case])
    assert_within_a_level(path, tmp_path, values((1, 4, 6, 6)), isa=INT8_KERNELS[kernels])


def test_quantized_values_read_by_a_computed_scale_are_left_to_tvm(tmp_path):
    """No importer makes it, but the IR may say it."""
    x = relax.Var("x", relax.TensorType((2, 8), "float32"))
    zero = relax.const(np.array(3, "uint8"))

    def body(x):
        small = relax.op.quantize(x, relax.const(np.float32(0.1)), zero, out_dtype="uint8")
        return relax.op.dequantize(small, relax.op.max(x), zero)

    value = values((2, 8))
    (found,) = run(model_of([x], {}, body), HOST, tmp_path, value)
    levels_above_zero = np.clip(np.rint(value * np.float32(10)) + 3, 0, 255) - 3
    np.testing.assert_allclose(found, levels_above_zero * value.max(), rtol=1e-6, atol=1e-6)
