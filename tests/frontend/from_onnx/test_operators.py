"""Attributes and forms of single operators: what ONNX Runtime computes, type and shape too."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from adaspring.errors import UnsupportedOperator
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.reference.executor import Reference

node = helper.make_node
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def ints(*values):
    return np.array(values, "int64")


NAN_ROW = np.array([[np.nan, -1, 2, np.inf, -np.inf]], "float32")
IMAGE = floats(1, 2, 3, 4)

# name: nodes, inputs, constants, opset
RIGHT = {
    "reduce squares over nothing": (
        [node("ReduceSumSquare", ["x"], ["y"], noop_with_empty_axes=1)],
        {"x": floats(2, 3)},
        {},
        18,
    ),
    "reduce l1 over nothing": (
        [node("ReduceL1", ["x"], ["y"], noop_with_empty_axes=1)],
        {"x": floats(2, 3)},
        {},
        18,
    ),
    "reduce over an empty list of axes": (
        [node("ReduceSum", ["x", "a"], ["y"], noop_with_empty_axes=1)],
        {"x": floats(2, 3)},
        {"a": ints()},
        13,
    ),
    "reduce integers": (
        [node("ReduceSum", ["x", "a"], ["y"], keepdims=0)],
        {"x": np.arange(6, dtype="int32").reshape(2, 3)},
        {"a": ints(-1)},
        13,
    ),
    "reduce by an attribute": (
        [node("ReduceMax", ["x"], ["y"], axes=[-1], keepdims=0)],
        {"x": floats(2, 3)},
        {},
        12,
    ),
    "the last of equal maxima": (
        [node("ArgMax", ["x"], ["y"], axis=1, select_last_index=1)],
        {"x": np.array([[1, 3, 3], [2, 2, 1]], "float32")},
        {},
        13,
    ),
    "resize the channels": (
        [node("Resize", ["x", "", "s"], ["y"], mode="nearest")],
        {"x": IMAGE},
        {"s": np.array([1, 2, 2, 2], "float32")},
        13,
    ),
    "resize of opset 10": (
        [node("Resize", ["x", "s"], ["y"], mode="linear")],
        {"x": IMAGE},
        {"s": np.array([1, 1, 2, 2], "float32")},
        10,
    ),
    "resize by an odd factor": (
        [node("Resize", ["x", "", "s"], ["y"], mode="linear")],
        {"x": IMAGE},
        {"s": np.array([1, 1, 1.7, 1.3], "float32")},
        18,
    ),
    "resize a sequence": (
        [node("Resize", ["x", "", "", "n"], ["y"], mode="linear")],
        {"x": floats(1, 2, 7)},
        {"n": ints(1, 2, 11)},
        18,
    ),
    "resize some axes": (
        [
            node(
                "Resize",
                ["x", "", "", "n"],
                ["y"],
                axes=[3, 2],
                keep_aspect_ratio_policy="not_larger",
            )
        ],
        {"x": IMAGE},
        {"n": ints(8, 7)},
        18,
    ),
    "upsample": (
        [node("Upsample", ["x", "s"], ["y"], mode="nearest")],
        {"x": IMAGE},
        {"s": np.array([1, 1, 2, 3], "float32")},
        9,
    ),
    "infinity of one sign": (
        [node("IsInf", ["x"], ["y"], detect_negative=0)],
        {"x": NAN_ROW},
        {},
        10,
    ),
    "infinity of the other sign": (
        [node("IsInf", ["x"], ["y"], detect_positive=0)],
        {"x": NAN_ROW},
        {},
        10,
    ),
    "one slope": ([node("PRelu", ["x", "a"], ["y"])], {"x": IMAGE}, {"a": floats(1)}, 16),
    "a slope for each pixel": (
        [node("PRelu", ["x", "a"], ["y"])],
        {"x": IMAGE},
        {"a": floats(3, 4)},
        16,
    ),
    "uneven parts": (
        [node("Split", ["x"], ["y", "b", "c"], axis=-1, num_outputs=3)],
        {"x": floats(2, 7)},
        {},
        18,
    ),
    "one part": ([node("Split", ["x"], ["y"], axis=1, num_outputs=1)], {"x": floats(2, 6)}, {}, 18),
    "parts by an attribute": (
        [node("Split", ["x"], ["y", "b"], axis=1, split=[2, 4])],
        {"x": floats(2, 6)},
        {},
        11,
    ),
    "nan through relu": ([node("Relu", ["x"], ["y"])], {"x": NAN_ROW}, {}, 14),
    "nan through clip": (
        [node("Clip", ["x", "lo", "hi"], ["y"])],
        {"x": NAN_ROW},
        {"lo": np.float32(0), "hi": np.float32(6)},
        13,
    ),
    "division by 0": (
        [node("Div", ["x", "d"], ["y"])],
        {"x": np.array([1, -1, 0], "float32")},
        {"d": np.zeros(3, "float32")},
        14,
    ),
    "integers divided": (
        [node("Div", ["x", "d"], ["y"])],
        {"x": np.array([-7, 7, -8], "int32")},
        {"d": np.array([2, -2, 3], "int32")},
        14,
    ),
    "one bound of integers": (
        [node("Clip", ["x", "lo"], ["y"])],
        {"x": np.array([-3, 2**24 + 1], "int32")},
        {"lo": np.int32(0)},
        13,
    ),
    "a mask that nobody reads": (
        [node("Dropout", ["x"], ["d", "mask"]), node("Relu", ["d"], ["y"])],
        {"x": floats(2, 3)},
        {},
        12,
    ),
    "slice of opset 9": (
        [node("Slice", ["x"], ["y"], axes=[1], starts=[1], ends=[3])],
        {"x": floats(2, 5)},
        {},
        9,
    ),
    "slice backwards": (
        [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
        {"x": floats(2, 5)},
        {"s": ints(-1), "e": ints(-100), "a": ints(-1), "t": ints(-2)},
        13,
    ),
    "group norm of opset 18": (
        [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
        {"x": floats(1, 4, 3, 3)},
        {"s": floats(2), "b": floats(2)},
        18,
    ),
    "group norm of opset 21": (
        [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
        {"x": floats(1, 4, 3, 3)},
        {"s": floats(4), "b": floats(4)},
        21,
    ),
    "classes as floats": (
        [node("OneHot", ["x", "d", "v"], ["y"], axis=0)],
        {"x": ints(0, -2)},
        {"d": np.array(4), "v": np.array([0.5, 2], "float32")},
        13,
    ),
    "negative elements": (
        [node("GatherElements", ["x", "i"], ["y"], axis=-1)],
        {"x": floats(2, 4)},
        {"i": np.array([[0, -1], [2, 1]])},
        13,
    ),
    "computed negative places": (
        [node("Gather", ["x", "i"], ["y"], axis=1)],
        {"x": floats(2, 4), "i": ints(-1, 0, -4)},
        {},
        13,
    ),
    "computed negative coordinates": (
        [node("GatherND", ["x", "i"], ["y"])],
        {"x": floats(2, 4), "i": np.array([[0, -1], [-2, 1]])},
        {},
        13,
    ),
    "elements scattered": (
        [node("ScatterElements", ["x", "i", "u"], ["y"], axis=1, reduction="add")],
        {"x": floats(2, 4), "u": floats(2, 2)},
        {"i": np.array([[0, -1], [2, 2]])},
        18,
    ),
    "a power of another type": (
        [node("Pow", ["x", "e"], ["y"])],
        {"x": floats(2, 3)},
        {"e": np.array(2)},
        15,
    ),
    "transposed, padding not set": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], auto_pad="NOTSET")],
        {"x": floats(1, 3, 4, 4)},
        {"w": floats(3, 2, 2, 2)},
        14,
    ),
    "transposed to a given shape": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 2], output_shape=[10, 8])],
        {"x": floats(1, 1, 3, 3)},
        {"w": floats(1, 2, 3, 3)},
        14,
    ),
    "nothing but the input": ([node("Identity", ["x"], ["y"])], {"x": floats(2, 3)}, {}, 14),
    "sums from the end": (
        [node("CumSum", ["x", "a"], ["y"], reverse=1, exclusive=1)],
        {"x": floats(2, 4)},
        {"a": np.array(-1)},
        14,
    ),
    "padding around": (
        [node("Pad", ["x", "w"], ["y"], mode="reflect")],
        {"x": floats(1, 3, 5)},
        {"w": ints(0, 2, 3, 0, 1, 4)},
        18,
    ),
    "windows beyond the end": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        {"x": floats(1, 2, 6, 7)},
        {},
        12,
    ),
    "means beyond the end": (
        [
            node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[3],
                strides=[2],
                pads=[1, 1],
                ceil_mode=1,
            )
        ],
        {"x": floats(1, 2, 6)},
        {},
        19,
    ),
    "softmax of opset 11": ([node("Softmax", ["x"], ["y"])], {"x": floats(2, 3, 4)}, {}, 11),
    "attention": (
        [node("Attention", ["x", "x", "x"], ["y"], q_num_heads=2, kv_num_heads=2, is_causal=1)],
        {"x": floats(1, 5, 4)},
        {},
        23,
    ),
    "a mean and deviation that are read": (
        [
            node("LayerNormalization", ["x", "s"], ["n", "mean", "dev"]),
            node("Add", ["n", "mean"], ["y"]),
        ],
        {"x": floats(2, 4)},
        {"s": floats(4)},
        17,
    ),
    "bytes": ([node("Cast", ["x"], ["y"], to=1)], {"x": np.arange(6, dtype="uint8")}, {}, 13),
    "a boolean mask": (
        [node("Where", ["m", "x", "x2"], ["y"])],
        {"m": np.array([True, False]), "x": floats(3, 2)},
        {"x2": floats(2)},
        13,
    ),
}


def save(path, nodes, inputs, constants, opset):
    read = {name for n in nodes for name in n.input}
    outputs = [name for n in nodes for name in n.output if name not in read | {"mask", "dev"}]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(10, 8 + opset // 21)
    )
    right = onnxruntime.InferenceSession(proto.SerializeToString()).run(outputs, inputs)
    del proto.graph.output[:]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(w.dtype), w.shape)
        for name, w in zip(outputs, right, strict=True)
    )
    onnx.save(proto, path)
    return right


@pytest.mark.parametrize("name", RIGHT)
def test_an_operator_computes_what_onnx_runtime_does(tmp_path, name):
    nodes, inputs, constants, opset = RIGHT[name]
    right = save(tmp_path / "n.onnx", nodes, inputs, constants, opset)
    found = Reference(from_onnx(tmp_path / "n.onnx")).run(*inputs.values())
    for ours, wanted in zip(found, right, strict=True):
        assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


REFUSED = {
    "its attribute antialias = 1 is not supported": (
        [node("Resize", ["x", "", "", "n"], ["y"], mode="linear", antialias=1)],
        {"x": IMAGE},
        {"n": ints(1, 2, 2, 2)},
        18,
    ),
    "an index is outside the 4 elements": (
        [node("Gather", ["x", "i"], ["y"], axis=1)],
        {"x": floats(2, 4)},
        {"i": ints(4)},
        13,
    ),
    "its output 'i' is not supported": (
        [node("BatchNormalization", ["x", "c", "c", "c", "c"], [*"yabei"])],
        {"x": IMAGE},
        {"c": np.ones(2, "float32")},
        9,
    ),
    "divides integers by the constant 0": (
        [node("Div", ["x", "d"], ["y"])],
        {"x": np.array([1], "int32")},
        {"d": np.array([0], "int32")},
        14,
    ),
    "how many elements it gives depends on the data": (
        [node("NonZero", ["x"], ["y"])],
        {"x": floats(2, 4)},
        {},
        13,
    ),
    "end the network at its boxes and scores": (
        [node("NonMaxSuppression", ["b", "s"], ["y"])],
        {"b": floats(1, 6, 4), "s": floats(1, 1, 6)},
        {},
        13,
    ),
    "it is random": ([node("RandomNormalLike", ["x"], ["y"])], {"x": floats(2, 4)}, {}, 13),
    "which belongs before the network": (
        [node("ImageDecoder", ["x"], ["y"])],
        {"x": np.zeros(9, "uint8")},
        {},
        20,
    ),
    "its input 1 is computed by the network": (
        [node("Compress", ["x", "c"], ["y"], axis=0)],
        {"x": floats(3, 4), "c": np.array([True, False, True])},
        {},
        13,
    ),
    "it keeps nothing": (
        [node("Compress", ["x", "c"], ["y"], axis=0)],
        {"x": floats(3, 4)},
        {"c": np.zeros(3, bool)},
        13,
    ),
    "give it fewer samples": (
        [node("DFT", ["x"], ["y"], axis=1)],
        {"x": np.zeros((1, 5000, 1), "float32")},
        {},
        17,
    ),
    "do not fit 5 samples": (
        [node("STFT", ["x", "step", "", "length"], ["y"])],
        {"x": floats(1, 5, 1)},
        {"step": np.int64(2), "length": np.int64(8)},
        17,
    ),
    "does not fit an operand of 3 axes": (
        [node("Einsum", ["x"], ["y"], equation="ij->ji")],
        {"x": floats(2, 3, 4)},
        {},
        13,
    ),
    "gives axes twice": (
        [node("Einsum", ["x"], ["y"], equation="i->ii")],
        {"x": floats(2)},
        {},
        13,
    ),
    "its k is 9, of 4 elements": (
        [node("TopK", ["x", "k"], ["y", "z"])],
        {"x": floats(2, 4)},
        {"k": ints(9)},
        13,
    ),
    "it does not say how many heads": (
        [node("Attention", ["x", "x", "x"], ["y"])],
        {"x": floats(1, 4, 8)},
        {},
        23,
    ),
    "there is no translation of it": (
        [node("DeformConv", ["x", "w", "o"], ["y"])],
        {"x": floats(1, 1, 3, 3), "w": floats(1, 1, 2, 2), "o": floats(1, 8, 2, 2)},
        {},
        19,
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_honoured_is_refused_by_name(tmp_path, message):
    nodes, inputs, constants, opset = REFUSED[message]
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in nodes[0].output]
    held = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", infos, outputs, held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = tmp_path / "n.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedOperator, match=message) as caught:
        from_onnx(path)
    assert nodes[0].op_type in str(caught.value)


def test_local_functions_are_written_out(tmp_path):
    double = helper.make_function(
        "mine",
        "Double",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    graph = helper.make_graph(
        [node("Double", ["x"], ["h"], domain="mine"), node("Relu", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, functions=[double], ir_version=8)
    onnx.save(proto, tmp_path / "n.onnx")
    x = floats(2, 3)
    (found,) = Reference(from_onnx(tmp_path / "n.onnx")).run(x)
    np.testing.assert_allclose(found, np.maximum(2 * x, 0))
