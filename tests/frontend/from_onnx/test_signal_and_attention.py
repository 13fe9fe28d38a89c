"""Operators that stand for many: what they compute, built too, and that passes see through them."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from adaspring.ir.layers import layers
from adaspring.passes import Prune
from adaspring.reference.executor import Reference
from adaspring.reference.import_check import load_checked

from ...support.backends import run
from ...support.boards import HOST

node = helper.make_node
WHOLE = ("i", "s")  # outputs that are integers
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def checked(path, nodes, inputs, constants, opset, outputs=("y",)):
    """Import it, checked against ONNX Runtime or ONNX's own evaluator."""
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    kinds = [TensorProto.INT64 if name in WHOLE else TensorProto.FLOAT for name in outputs]
    ends = [helper.make_tensor_value_info(*end, None) for end in zip(outputs, kinds, strict=True)]
    graph = helper.make_graph(nodes, "g", infos, ends, held)
    opsets = [helper.make_opsetid("", opset)]
    typed = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets))
    for value in typed.graph.output:
        if not value.type.tensor_type.HasField("shape"):  # which ONNX cannot tell
            value.type.tensor_type.shape.dim.extend(
                onnx.TensorShapeProto.Dimension() for _ in "123"
            )
    path.write_bytes(typed.SerializeToString())
    return load_checked(path)


CAUSAL = {
    "kv_num_heads": 2,
    "q_num_heads": 4,
    "is_causal": 1,
    "scale": 0.3,
    "softcap": 2.0,
}
BUILT = {
    "attention with a cache, groups of heads and a mask": (
        [node("Attention", ["q", "k", "v", "m", "pk", "pv"], ["y", "nk", "nv"], **CAUSAL)],
        {
            **{"q": floats(2, 3, 16), "k": floats(2, 3, 8), "v": floats(2, 3, 8)},
            "m": np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [1, 0, 1, 0, 1]], bool),
            **{"pk": floats(2, 2, 2, 4), "pv": floats(2, 2, 2, 4)},
        },
        {},
        23,
        ("y", "nk", "nv"),
    ),
    "rotary positions": (
        [node("RotaryEmbedding", ["x", "c", "s", "p"], ["y"], rotary_embedding_dim=4)],
        {"x": floats(1, 2, 3, 6), "p": np.array([[4, 0, 7]])},
        {"c": floats(8, 2), "s": floats(8, 2)},
        23,
        ("y",),
    ),
    "a spectrogram": (
        [
            node("HannWindow", ["n"], ["w"]),
            node("STFT", ["x", "hop", "w"], ["f"]),
            node("ReduceL2", ["f", "last"], ["a"], keepdims=0),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            node("MelWeightMatrix", ["bands", "n", "rate", "low", "high"], ["mel"]),
            node("MatMul", ["a", "mel"], ["m"]),
            node("Clip", ["m", "least"], ["c"]),
            node("Log", ["c"], ["y"]),
        ],
        {"x": floats(2, 100, 1)},
        {
            **{"n": np.int64(16), "hop": np.int64(10), "last": np.array([-1])},
            **{"bands": np.int64(4), "rate": np.int64(800), "least": np.float32(1e-3)},
            **{"low": np.float32(0), "high": np.float32(400)},
        },
        18,
        ("y",),
    ),
    "an inverse transform": (
        [node("DFT", ["x", "n", "axis"], ["y"], inverse=1)],
        {"x": floats(2, 6, 3, 2)},
        {"n": np.int64(8), "axis": np.int64(1)},
        20,
        ("y",),
    ),
    "einsum of three": (
        [node("Einsum", ["a", "b", "c"], ["y"], equation="bhid,bhjd,...->bhij")],
        {"a": floats(2, 3, 4, 5), "b": floats(2, 3, 6, 5), "c": floats(1)},
        {},
        13,
        ("y",),
    ),
    "columns laid back": (
        [node("Col2Im", ["x", "image", "block"], ["y"], strides=[2, 1], pads=[1, 0, 1, 0])],
        {"x": floats(1, 12, 15)},
        {"image": np.array([5, 6]), "block": np.array([2, 2])},
        18,
        ("y",),
    ),
    "maxima unpooled": (
        [
            node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2]),
            node("MaxUnpool", ["p", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        {"x": floats(1, 2, 6, 4)},
        {},
        12,
        ("y", "i"),
    ),
    "bounds that are computed": (
        [
            node("ReduceMean", ["x"], ["low"], keepdims=0),
            node("ReduceMax", ["x"], ["high"], keepdims=0),
            node("Clip", ["x", "low", "high"], ["y"]),
        ],
        {"x": floats(2, 5)},
        {},
        13,
        ("y",),
    ),
    "chosen and put in their places": (
        [
            node("TopK", ["x", "k"], ["v", "i"], axis=1),
            node("GatherElements", ["x", "i"], ["g"], axis=1),
            node("ScatterElements", ["x", "i", "g"], ["s"], axis=1, reduction="add"),
            node("Compress", ["s", "keep"], ["y"], axis=1),
        ],
        {"x": floats(3, 5)},
        {"k": np.array([2]), "keep": np.array([True, False, True])},
        18,
        ("y", "i"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT)
def test_what_is_imported_rightly_is_built_rightly(name, tmp_path):
    model = checked(tmp_path / "net.onnx", *BUILT[name])
    inputs = list(BUILT[name][1].values())
    built, wanted = run(model, HOST, tmp_path, *inputs), Reference(model).run(*inputs)
    for ours, right in zip(built, wanted, strict=True):
        assert (ours.shape, ours.dtype) == (right.shape, right.dtype)
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)


def test_a_transform_is_what_numpy_computes(tmp_path):
    x = floats(3, 12, 1)
    model = checked(
        tmp_path / "net.onnx", [node("DFT", ["x"], ["y"], axis=1, onesided=1)], {"x": x}, {}, 17
    )
    (found,) = Reference(model).run(x)
    right = np.fft.rfft(x[..., 0].astype("f8"))
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], right, atol=1e-5)


def test_attention_is_what_torch_computes(tmp_path):
    q, k, v = floats(2, 4, 5, 8), floats(2, 2, 5, 8), floats(2, 2, 5, 8)
    nodes = [node("Attention", ["q", "k", "v"], ["y"], is_causal=1)]
    model = checked(tmp_path / "net.onnx", nodes, {"q": q, "k": k, "v": v}, {}, 23)
    right = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (q, k, v)), is_causal=True, enable_gqa=True
    )
    np.testing.assert_allclose(Reference(model).run(q, k, v)[0], right, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Max", ["p", "q"], ["m"])],
        [node("Min", ["p", "one"], ["m"])],
        [node("Max", ["p", "each"], ["m"])],
        [node("Max", ["p", "q", "one", "each"], ["m"])],
        [node("Clip", ["p", "one"], ["r"]), node("Mul", ["r", "each"], ["m"])],
    ],
)
def test_the_larger_of_two_is_pruned_through(nodes, tmp_path):
    held = {"a": floats(32, 3, 3, 3), "b": floats(32, 3, 3, 3), "c": floats(4, 32, 3, 3)}
    held |= {"one": np.float32(0.1), "each": floats(32, 1, 1)}
    whole = [
        node("Conv", ["x", "a"], ["p"]),
        node("Conv", ["x", "b"], ["q"]),
        *nodes,
        node("Conv", ["m", "c"], ["y"]),
    ]
    model = checked(tmp_path / "net.onnx", whole, {"x": floats(1, 3, 8, 8)}, held, 13)
    prune = Prune(keep_ratio=0.5)
    pruned = prune.apply(model, prune.plan(model, None))
    assert {layer.name: layer.weight_shape[0] for layer in layers(pruned)}["a"] == 16


def test_coordinates_and_windows_that_are_inputs_are_checked_too(tmp_path):
    x, at = floats(2, 3, 4), np.array([[2], [0]])
    nodes = [node("GatherND", ["x", "at"], ["y"], batch_dims=1)]
    model = checked(tmp_path / "net.onnx", nodes, {"x": x, "at": at}, {}, 13)
    np.testing.assert_array_equal(Reference(model).run(x, at)[0], x[[0, 1], [2, 0]])
    x, window = floats(1, 20, 1), floats(8)
    nodes = [node("STFT", ["x", "hop", "w"], ["y"])]
    held = {"hop": np.int64(4)}
    model = checked(tmp_path / "net.onnx", nodes, {"x": x, "w": window}, held, 17)
    frames = np.lib.stride_tricks.sliding_window_view(x[0, :, 0], 8)[::4]
    right = np.fft.rfft(frames.astype("f8") * window)
    found = Reference(model).run(x, window)[0][0]
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], right, atol=1e-5)


def test_one_file_may_end_in_a_constant(tmp_path):
    nodes = [node("Shape", ["x"], ["s"]), node("Relu", ["x"], ["y"])]
    x = floats(2, 3)
    model = checked(tmp_path / "net.onnx", nodes, {"x": x}, {}, 13, ("y", "s"))
    assert Reference(model).run(x)[1].tolist() == [2, 3]


def test_elements_of_a_constant_are_counted_at_import(tmp_path):
    nodes = [
        node("NonZero", ["mask"], ["at"]),
        node("Squeeze", ["at", "first"], ["places"]),
        node("Gather", ["x", "places"], ["y"], axis=1),
    ]
    held = {"mask": np.array([1, 0, 0, 1]), "first": np.array([0])}
    x = floats(2, 4)
    model = checked(tmp_path / "net.onnx", nodes, {"x": x}, held, 13)
    np.testing.assert_array_equal(Reference(model).run(x)[0], x[:, [0, 3]])


def test_a_free_shape_is_asked_for(tmp_path):
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, ["n"]) for n in "xy"]
    graph = helper.make_graph([node("Relu", ["x"], ["y"])], "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    assert load_checked(tmp_path / "net.onnx", {"x": (3,)}).inputs[0].dtype == "float16"
