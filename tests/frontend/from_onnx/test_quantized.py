"""Networks that come quantized in ONNX keep their scales, and compute what ONNX Runtime does."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from adaspring.errors import ModelError, UnsupportedOperator
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.ir.layers import layers
from adaspring.reference.executor import Reference

from ...support.frontend import assert_in_the_irs_form, operators, run
from ...support.networks import (
    Mlp,
    MobileNetStyle,
    SmallCnn,
    SmallResNet,
    TinyEncoder,
    example_inputs,
)
from ...support.quantized_networks import (
    Graph,
    levels,
    output_scale,
    quantized_by_onnx_runtime,
    run_onnx_runtime,
    values,
)


def assert_within(path, steps, *inputs, lowered=True):
    """The reference executor and TVM's own lowering are within `steps` of the output's scale."""
    model = from_onnx(path)
    expected = run_onnx_runtime(path, *inputs)
    scale = output_scale(path)
    found_by = [Reference(model).run(*inputs), *([run(model, *inputs)] if lowered else [])]
    for found in found_by:
        for f, e in zip(found, expected, strict=True):
            assert (f.shape, f.dtype) == (e.shape, e.dtype)
            error = np.abs(f.astype(np.float64) - e).max()
            assert error <= (steps + 1e-3) * (scale if f.dtype == np.float32 else 1)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("qdq")


@pytest.mark.parametrize(
    ("make", "activations", "per_channel"),
    [
        (SmallCnn, "QUInt8", True),
        (SmallResNet, "QInt8", True),
        (SmallResNet, "QUInt8", False),
        (MobileNetStyle, "QInt8", False),
        (Mlp, "QUInt8", True),
        (Mlp, "QInt8", False),
        (TinyEncoder, "QUInt8", True),
    ],
)
def test_what_onnx_runtime_quantized_computes_what_it_computes_there(
    folder, make, activations, per_channel
):
    path = quantized_by_onnx_runtime(folder, make, activations, per_channel=per_channel)
    inputs = [x.numpy() for x in example_inputs(make(), seed=7)]
    model = assert_within(path, 1, *inputs, lowered=False)
    assert_in_the_irs_form(model)
    assert "nn.batch_norm" not in operators(model)


def test_weights_keep_their_names_and_biases_become_floats(folder):
    model = from_onnx(quantized_by_onnx_runtime(folder, SmallCnn))
    assert model.weights["fc1.weight"].dtype == np.int8
    assert model.weights["fc1.bias"].dtype == np.float32
    assert [layer.bias for layer in layers(model)][-2:] == ["fc1.bias", "fc2.bias"]
    assert all(layer.bias for layer in layers(model))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    opset=st.sampled_from([10, 13, 17, 19, 21]),
    activations=st.sampled_from([("uint8", 100), ("uint8", 0), ("int8", -5), ("int8", -128)]),
    kind=st.sampled_from(["convolution", "depthwise", "grouped"]),
    stored=st.sampled_from([("int8", 0), ("uint8", 128)]),
    per_channel=st.booleans(),
    bias=st.booleans(),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    channels=st.integers(1, 5),
)
def test_a_convolution_computes_what_onnx_runtime_computes(
    tmp_path, opset, activations, kind, stored, per_channel, bias, stride, padding, channels
):
    dtype, zero = activations
    per_channel = per_channel and opset >= 13
    groups = {"convolution": 1, "depthwise": 2 * channels, "grouped": 2}[kind]
    c_in = 2 * channels
    c_out = c_in if kind == "depthwise" else 6
    graph = Graph(2, c_in, 7, 6, opset=opset)
    x = graph.fake("x", 0.05, zero, dtype)
    scale = np.linspace(0.001, 0.02, c_out) if per_channel else 0.01
    axis = 0 if per_channel else None
    weight = levels((c_out, c_in // groups, 3, 3), stored[0])
    inputs = [x, graph.weight("conv.weight_quantized", weight, scale, stored[1], axis)]
    if bias:
        sums = np.arange(-c_out, c_out, 2, dtype=np.int32) * 100
        inputs.append(graph.weight("conv.bias_quantized", sums, 0.05 * np.float32(scale), 0, axis))
    y = graph.node("Conv", *inputs, strides=[stride] * 2, pads=[padding] * 4, group=groups)
    path = graph.save(tmp_path / "conv.onnx", graph.fake(y, 0.3, zero, dtype))
    model = assert_within(path, 1, values((2, c_in, 7, 6)), lowered=False)
    assert_in_the_irs_form(model)
    (layer,) = layers(model)
    assert (layer.name, layer.bias) == ("conv", "conv.bias" if bias else None)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.integers(1, 4),
    k=st.integers(1, 20),
    n=st.integers(1, 9),
    transposed=st.booleans(),
    per_channel=st.booleans(),
    zero=st.sampled_from([("uint8", 3), ("int8", 7)]),
)
def test_a_dense_layer_computes_what_onnx_runtime_computes(
    tmp_path, rows, k, n, transposed, per_channel, zero
):
    graph = Graph(rows, k)
    x = graph.fake("x", 0.05, zero[1], zero[0])
    scale = np.linspace(0.001, 0.02, n) if per_channel else 0.01
    at = 0 if transposed else 1
    shape = (n, k) if transposed else (k, n)
    w = graph.weight("fc.weight", levels(shape), scale, 0, at if per_channel else None)
    b = graph.weight("fc.bias", levels((n,)).astype(np.int32), 0.01)
    y = graph.node("Gemm", x, w, b, transB=int(transposed))
    path = graph.save(tmp_path / "dense.onnx", graph.fake(y, 0.2))
    assert_in_the_irs_form(assert_within(path, 1, values((rows, k)), lowered=False))


def conv(graph, x, weight, **attributes):
    return graph.node("Conv", x, weight, pads=[1] * 4, **attributes)


def one_conv(tmp_path, make_weight, shape=(1, 4, 5, 5), opset=13):
    """A file of one convolution, whose weight `make_weight(graph)` adds."""
    graph = Graph(*shape, opset=opset)
    y = conv(graph, graph.fake("x"), make_weight(graph))
    return graph.save(tmp_path / "one.onnx", graph.fake(y, 0.3))


def test_a_weight_around_another_zero_point_is_moved_where_int8_holds_it(tmp_path):
    stored = np.clip(levels((6, 4, 3, 3), "uint8"), 0, 217)
    zeros = np.arange(90, 96)
    path = one_conv(tmp_path, lambda g: g.weight("w", stored, np.full(6, 0.01), zeros, axis=0))
    model = assert_within(path, 1, values((1, 4, 5, 5)))
    assert_in_the_irs_form(model)
    moved = stored.astype(int) - zeros.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(model.weights["w"], moved)


def test_a_weight_that_int8_does_not_hold_is_refused(tmp_path):
    stored = np.array([0, 255] * 18, "uint8").reshape(1, 4, 3, 3)
    path = one_conv(tmp_path, lambda g: g.weight("w", stored, 0.01, 100))
    with pytest.raises(
        UnsupportedOperator,
        match=r"quantized values of w minus their zero points range from -100 to 155",
    ):
        from_onnx(path)


def test_scales_along_the_inputs_leave_the_layer_in_floats(tmp_path):
    path = one_conv(
        tmp_path, lambda g: g.weight("w", levels((6, 4, 3, 3)), [0.01, 0.02, 0.03, 0.04], 0, 1)
    )
    model = assert_within(path, 1, values((1, 4, 5, 5)))
    assert model.weights["w_scale"].shape == (4,)


def test_a_float_weight_that_the_file_quantizes_is_rounded_ahead(tmp_path):
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)

    def make(graph):
        graph.hold("conv.weight", weight)
        return graph.fake("conv.weight", 0.02, 0, "int8")

    model = assert_within(one_conv(tmp_path, make), 1, values((1, 4, 5, 5)))
    assert_in_the_irs_form(model)
    expected = np.clip(np.rint(weight / np.float32(0.02)), -128, 127)
    np.testing.assert_array_equal(model.weights["conv.weight"], expected)


def batch_norm(graph, x, gamma):
    rng = np.random.default_rng(5)
    held = {"gamma": gamma, "beta": rng.normal(size=6), "mean": rng.normal(size=6)}
    held["variance"] = rng.uniform(0.5, 2, 6)
    names = [graph.hold(name, value.astype(np.float32)) for name, value in held.items()]
    return graph.node("BatchNormalization", x, *names)


@pytest.mark.parametrize("negative", [False, True])
def test_batch_norm_goes_into_the_scales_of_the_layer_before_where_they_stay_positive(
    tmp_path, negative
):
    graph = Graph(1, 4, 5, 5)
    stored = levels((6, 4, 3, 3))
    y = conv(graph, graph.fake("x"), graph.weight("conv.weight", stored, 0.01))
    gamma = np.linspace(-0.5 if negative else 0.5, 1.5, 6)
    y = graph.fake(batch_norm(graph, y, gamma), 0.3)
    model = assert_within(graph.save(tmp_path / "bn.onnx", y), 1, values((1, 4, 5, 5)))
    assert_in_the_irs_form(model)
    np.testing.assert_array_equal(model.weights["conv.weight"], stored)
    assert ("multiply" in operators(model)) == negative


def test_layers_that_read_one_tensor_read_one_quantization_of_it(tmp_path):
    graph = Graph(1, 4, 5, 5)
    parts = [
        conv(graph, graph.fake("x"), graph.weight(f"conv{i}.weight", levels((4, 4, 3, 3), seed=i)))
        for i in range(2)
    ]
    y = graph.fake(graph.node("Add", *parts), 0.3)
    model = assert_within(graph.save(tmp_path / "twice.onnx", y), 1, values((1, 4, 5, 5)))
    assert operators(model).count("quantize") == 2
    first, second = layers(model)
    assert first.input.same_as(second.input)


def test_a_weight_that_two_layers_share_is_held_once(tmp_path):
    graph = Graph(1, 4, 5, 5)
    w = graph.weight("shared.weight", levels((4, 4, 3, 3)))
    y = conv(graph, graph.fake(conv(graph, graph.fake("x"), w), 0.3), w)
    path = graph.save(tmp_path / "shared.onnx", graph.fake(y, 0.3))
    assert list(assert_within(path, 1, values((1, 4, 5, 5))).weights) == [
        "shared.weight",
        "shared.weight_scale",
    ]


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 100), ("int8", -5)])
def test_what_moves_quantized_values_moves_dequantized_ones(tmp_path, dtype, zero):
    """Pooling and reshaping between QuantizeLinear and DequantizeLinear."""
    graph = Graph(1, 4, 6, 6)
    q = graph.quantize("x", 0.05, zero, dtype)
    q = graph.node("MaxPool", q, kernel_shape=[2, 2], strides=[2, 2])
    q = graph.node("Transpose", q, perm=[0, 1, 3, 2])
    q = graph.node("Flatten", q)
    x = graph.dequantize(q, 0.05, zero, dtype)
    y = graph.node("MatMul", x, graph.weight("fc.weight", levels((36, 5)), 0.01))
    path = graph.save(tmp_path / "moves.onnx", graph.fake(y, 0.3))
    assert_in_the_irs_form(assert_within(path, 1, values((1, 4, 6, 6))))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_values_quantized_per_channel_follow_their_channels(tmp_path, dtype):
    graph = Graph(1, 4, 6, 6)
    settings = {"scale": [0.02, 0.03, 0.04, 0.05], "zero_point": [1, 2, 3, 4], "dtype": dtype}
    q = graph.quantize("x", **settings, axis=1)
    q = graph.node("MaxPool", q, kernel_shape=[2, 2], strides=[2, 2])
    q = graph.node("Transpose", q, perm=[0, 2, 3, 1])
    y = graph.dequantize(q, **settings, axis=3)
    assert_within(graph.save(tmp_path / "channels.onnx", y), 0, values((1, 4, 6, 6)))


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 100), ("int8", -5)])
def test_quantized_values_that_leave_the_network_are_the_sources_own(tmp_path, dtype, zero):
    graph = Graph(1, 4, 5, 5)
    y = conv(graph, graph.fake("x", 0.05, zero, dtype), graph.weight("w", levels((6, 4, 3, 3))))
    wanted = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}[dtype]
    path = graph.save(tmp_path / "integers.onnx", graph.quantize(y, 0.3, zero, dtype), dtype=wanted)
    model = assert_within(path, 1, values((1, 4, 5, 5)))
    assert model.outputs[0].dtype == dtype


def test_quantized_values_read_by_another_scale_are_what_that_says(tmp_path):
    graph = Graph(1, 4, 5, 5)
    x = graph.dequantize(graph.quantize("x", 0.05, 100), 0.1, 30)
    y = conv(graph, x, graph.weight("w", levels((6, 4, 3, 3))))
    path = graph.save(tmp_path / "other.onnx", graph.fake(y, 0.6))
    assert_within(path, 1, values((1, 4, 5, 5)))


def test_constants_that_are_no_weights_become_floats(tmp_path):
    graph = Graph(1, 4, 5, 5)
    offset = graph.weight("offset_quantized", levels((1, 4, 1, 1), "uint8"), 0.02, 7)
    y = graph.fake(graph.node("Add", graph.fake("x"), offset), 0.1)
    model = assert_within(graph.save(tmp_path / "add.onnx", y), 1, values((1, 4, 5, 5)))
    assert list(model.weights) == ["offset"]
    assert model.weights["offset"].dtype == np.float32


def test_a_weight_that_the_network_computes_is_computed(tmp_path):
    graph = Graph(4, 4, 3, 3)
    y = conv(graph, graph.fake("x"), graph.fake("x", 0.03, 0, "int8"))
    path = graph.save(tmp_path / "dynamic.onnx", graph.fake(y, 0.5))
    assert not layers(assert_within(path, 1, values((4, 4, 3, 3))))


# -- QLinearConv and QLinearMatMul -------------------------------------------------------------


def qlinear(graph, op_type, left, right, y, bias=(), **attributes):
    sides = [
        name
        for q, scale, zero, dtype in (left, right)
        for name in (q, *graph.parameters(scale, zero, dtype))
    ]
    return graph.node(op_type, *sides, *graph.parameters(*y), *bias, **attributes)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_operators_are_imported_as_layers(tmp_path, dtype):
    zero = {"uint8": 100, "int8": -5}[dtype]
    graph = Graph(1, 4, 6, 6)
    q = graph.quantize("x", 0.05, zero, dtype)
    # 7 bits: without VNNI, ONNX Runtime adds pairs of 8-bit products in 16 bits, which saturate.
    graph.hold("conv.weight", levels((6, 4, 3, 3)) // 2)
    graph.hold("conv.bias", np.arange(-3, 3, dtype=np.int32) * 900)
    weight = ("conv.weight", np.linspace(0.001, 0.02, 6), np.zeros(6), "int8")
    y = (0.3, zero, dtype)
    q = qlinear(graph, "QLinearConv", (q, 0.05, zero, dtype), weight, y, ["conv.bias"])
    q = graph.node("Flatten", graph.node("MaxPool", q, kernel_shape=[2, 2], strides=[2, 2]))
    graph.hold("fc.weight", levels((24, 5)) // 2)
    q = qlinear(graph, "QLinearMatMul", (q, *y), ("fc.weight", 0.01, 0, "int8"), (0.5, zero, dtype))
    path = graph.save(tmp_path / "qlinear.onnx", graph.dequantize(q, 0.5, zero, dtype))
    model = assert_within(path, 1, values((1, 4, 6, 6)))
    assert_in_the_irs_form(model)
    assert [(layer.name, layer.bias) for layer in layers(model)] == [
        ("conv", "conv.bias"),
        ("fc", None),
    ]


def test_a_left_side_scaled_by_row_is_refused(tmp_path):
    graph = Graph(3, 4)
    q = graph.quantize("x")
    graph.hold("w", levels((4, 4)))
    left, right = (q, np.full(3, 0.05), np.full(3, 100), "uint8"), ("w", 0.01, 0, "int8")
    q = qlinear(graph, "QLinearMatMul", left, right, (0.3, 100, "uint8"))
    with pytest.raises(UnsupportedOperator, match=r"left side is not one constant; .*QDQ format"):
        from_onnx(graph.save(tmp_path / "rows.onnx", graph.dequantize(q, 0.3)))


# -- what cannot be imported -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [("ConvInteger", ["q", "w"]), ("MatMulInteger", ["q", "w"]), ("DynamicQuantizeLinear", ["x"])],
)
def test_what_scales_as_it_runs_is_refused_with_what_to_do(tmp_path, operator, inputs):
    graph = Graph(4, 4) if operator == "MatMulInteger" else Graph(1, 4, 4, 4)
    q = graph.quantize("x")
    graph.hold("w", levels((4, 4) if operator == "MatMulInteger" else (4, 4, 1, 1)))
    if operator == "DynamicQuantizeLinear":
        graph.nodes.append(helper.make_node(operator, inputs, ["y", "s", "z"]))
        path = graph.save(tmp_path / "d.onnx", "y", dtype=TensorProto.UINT8)
    else:
        y = graph.node(operator, q, "w")
        path = graph.save(tmp_path / "i.onnx", y, dtype=TensorProto.INT32)
    with pytest.raises(UnsupportedOperator, match=f"{operator} .*QuantFormat.QDQ"):
        from_onnx(path)


def test_onnx_runtimes_own_operators_are_refused_with_what_to_do(tmp_path):
    graph = Graph(1, 4)
    q = graph.quantize("x")
    y = graph.node("QLinearAdd", q, q, domain="com.microsoft")
    with pytest.raises(
        UnsupportedOperator, match=r"QLinearAdd .*com\.microsoft; .*QuantFormat.QDQ"
    ):
        from_onnx(graph.save(tmp_path / "ms.onnx", y, dtype=TensorProto.UINT8))


def test_onnx_runtimes_own_form_of_qdq_is_refused(tmp_path):
    graph = Graph(1, 4)
    scale, zero = graph.parameters(0.1, 3)
    q = graph.node("QuantizeLinear", "x", scale, zero, domain="com.microsoft")
    with pytest.raises(UnsupportedOperator, match=r"com\.microsoft; export with int8 or uint8"):
        from_onnx(graph.save(tmp_path / "ms.onnx", graph.dequantize(q, 0.1, 3)))


HOSTILE = {
    "scale 0": (dict(scale=0.0), "a scale is 0.0; scales must be finite and positive"),
    "negative scale": (dict(scale=-0.1), "a scale is -0.1"),
    "NaN": (dict(scale=np.nan), "a scale is nan"),
    "infinity": (dict(scale=np.inf), "a scale is inf"),
    "a scale without an inverse": (dict(scale=1e-40), "a scale is 1e-40|a scale is 9.99"),
    "too few scales": (dict(scale=[0.1, 0.1], zero_point=[0, 0]), "2 scales for the 4 channels"),
    "too many zero points": (dict(zero_point=[0, 0, 0, 0]), "1 scales, but 4 zero points"),
    "an axis too far": (dict(scale=[0.1] * 4, zero_point=[0] * 4, axis=7), "axis 7"),
    "16 bits": (dict(dtype="uint16"), "quantized values are uint16; export with int8 or uint8"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("reader", ["activation", "weight"])
def test_a_hostile_scale_is_refused(tmp_path, case, reader):
    changes, message = HOSTILE[case]
    settings = dict(scale=0.1, zero_point=0, dtype="uint8") | changes
    graph = Graph(1, 4, 5, 5, opset=21)
    if reader == "activation":
        y = graph.dequantize(graph.quantize("x", **settings), **settings)
    else:
        axis = settings.pop("axis", 1)
        graph.hold("w", levels((1, 4, 1, 1), settings["dtype"]))
        y = graph.node("Mul", "x", graph.dequantize("w", axis=axis, **settings))
    path = graph.save(tmp_path / "hostile.onnx", y)
    with pytest.raises(ModelError, match=message):
        from_onnx(path)


def test_a_scale_that_the_network_computes_is_refused(tmp_path):
    graph = Graph(4)
    scale = graph.node("ReduceMax", "x", keepdims=0)
    graph.hold("z", np.uint8(3))
    y = graph.node("DequantizeLinear", graph.node("QuantizeLinear", "x", scale, "z"), scale, "z")
    with pytest.raises(UnsupportedOperator, match="must be constants; quantize statically"):
        from_onnx(graph.save(tmp_path / "dynamic.onnx", y))


def test_4_bit_weights_are_refused(tmp_path):
    graph = Graph(1, 4, opset=21)
    graph.hold("w", levels((4, 4)).astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT4)))
    y = graph.node("MatMul", "x", graph.node("DequantizeLinear", "w", *graph.parameters(0.1, None)))
    with pytest.raises(UnsupportedOperator, match=r"DequantizeLinear .* quantized values are int4"):
        from_onnx(graph.save(tmp_path / "int4.onnx", y))


def test_quantizing_integers_is_refused(tmp_path):
    graph = Graph(1, 4)
    integers = graph.node("Cast", "x", to=TensorProto.INT32)
    with pytest.raises(UnsupportedOperator, match="it quantizes int32; only float32"):
        from_onnx(graph.save(tmp_path / "int32.onnx", graph.fake(integers)))


def test_block_wise_quantization_is_refused(tmp_path):
    graph = Graph(1, 4, opset=21)
    graph.hold("w", levels((4, 4)))
    w = graph.dequantize("w", np.full((2, 4), 0.1), None, axis=0, block_size=2)
    y = graph.node("MatMul", "x", w)
    with pytest.raises(UnsupportedOperator, match="block-wise quantization cannot be imported"):
        from_onnx(graph.save(tmp_path / "blocks.onnx", y))


def test_an_activation_by_channel_is_right_in_floats(tmp_path):
    graph = Graph(1, 4, 5, 5)
    settings = dict(scale=[0.02, 0.03, 0.04, 0.05], zero_point=[1, 2, 3, 4])
    x = graph.dequantize(graph.quantize("x", **settings, axis=1), **settings, axis=1)
    y = conv(graph, x, graph.weight("w", levels((6, 4, 3, 3))))
    path = graph.save(tmp_path / "channels.onnx", graph.fake(y, 0.3))
    assert_within(path, 1, values((1, 4, 5, 5)))
