"""Inputs of every type that an app may have, and networks of floats other than float32."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from tvm import relax

from adaspring.errors import ModelError
from adaspring.frontend.from_onnx import importer
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.reference.executor import Reference
from adaspring.reference.import_check import load_checked

from ..support.backends import run
from ..support.boards import HOST
from ..support.networks import Fn

RANDOM = np.random.default_rng(0)
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
TYPES = (*INTEGERS, "bool", "float16", "float32", "float64")


def _saved(path, nodes, inputs, outputs, held):
    ends = [
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in side]
        for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "net", *ends, weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def _values(dtype):
    return (RANDOM.uniform(size=(2, 3, 8, 8)) * 2).round().astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_an_input_keeps_the_type_that_the_onnx_file_declares(dtype, tmp_path):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weight = RANDOM.normal(size=(4, 3, 3, 3)).astype("float32")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["y"]),
    ]
    ends = [("x", kind, (2, 3, 8, 8))], [("y", TensorProto.FLOAT, (2, 4, 6, 6))]
    model = load_checked(_saved(tmp_path / "net.onnx", nodes, *ends, {"w": weight}))
    assert (model.inputs[0].dtype, model.notes) == (dtype, ())
    x = _values(dtype)
    wanted = nn.functional.conv2d(torch.from_numpy(x.astype("float32")), torch.from_numpy(weight))
    (found,) = run(model, HOST, tmp_path, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", TYPES)
def test_an_input_keeps_the_type_that_the_torch_program_declares(dtype):
    network = Fn(lambda s, x: s.conv(x.float() / 255), conv=nn.Conv2d(3, 4, 3)).eval()
    x = torch.from_numpy(_values(dtype))
    model = from_torch(network, (x,), name="net")
    assert (model.inputs[0].dtype, model.notes) == (dtype, ())
    (found,) = Reference(model).run(x.numpy())
    np.testing.assert_allclose(found, network(x).detach(), rtol=1e-4, atol=1e-5)


def _half_network(path):
    """As converters write it: weights, inputs and outputs float16, one layer norm in float32."""
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    held = {
        "w": RANDOM.normal(size=(4, 3, 3, 3)).astype("float16") / 4,
        "b": RANDOM.normal(size=4).astype("float16"),
        "scale": np.ones(36, "float32"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["flat"], axis=2),
        helper.make_node("Cast", ["flat"], ["wide"], to=single),
        helper.make_node("LayerNormalization", ["wide", "scale"], ["n"]),
        helper.make_node("Cast", ["n"], ["narrow"], to=half),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("CastLike", ["two", "narrow"], ["h"]),
        helper.make_node("Mul", ["narrow", "h"], ["y"]),
    ]
    return _saved(path, nodes, [("x", half, (1, 3, 8, 8))], [("y", half, (1, 4, 6 * 6))], held)


def test_a_float16_file_is_computed_in_float32_and_says_so(tmp_path):
    path = _half_network(tmp_path / "half.onnx")
    model = load_checked(path)
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {"float16"}
    assert {value.dtype.name for value in model.weights.values()} == {"float32"}
    assert "w" in model.weights
    assert "float16" in model.notes[0]
    x = RANDOM.normal(size=(1, 3, 8, 8)).astype("float16")
    (built,), (ours,) = run(model, HOST, tmp_path, x), Reference(model).run(x)
    assert built.dtype == np.float16
    np.testing.assert_allclose(built.astype("f4"), ours.astype("f4"), atol=1e-2)


def test_a_float16_file_whose_casts_stand_last_is_put_in_order(tmp_path):
    """As onnxruntime's and onnxconverter's float16 write it, which ONNX's checker refuses."""
    path = _half_network(tmp_path / "half.onnx")
    proto = onnx.load(path)
    nodes = [proto.graph.node[i] for i in (0, 1, 8, 7, 6, 4, 5, 2, 3)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, path)
    assert load_checked(path).outputs[0].dtype == "float16"


def test_a_half_network_of_torch_is_computed_in_float32_and_says_so(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    network = network.append(nn.Linear(144, 5)).eval().half()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float16)
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "half.pt2")
    model = load_checked(tmp_path / "half.pt2")
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {"float16"}
    assert {value.dtype.name for value in model.weights.values()} == {"float32"}
    assert "computed in float32" in model.notes[0]
    (found,) = Reference(model).run(x.numpy())
    exact = network.float()(x.float()).detach().numpy()
    np.testing.assert_allclose(found.astype("f4"), exact, rtol=1e-3, atol=1e-3)


def test_brain_floats_inside_a_network_are_computed_in_float32():
    network = Fn(lambda s, x: s.fc(x.bfloat16()).float(), fc=nn.Linear(6, 3).bfloat16()).eval()
    x = torch.randn(2, 6)
    model = from_torch(network, (x,), name="net")
    assert "bfloat16" in model.notes[0]
    (found,) = Reference(model).run(x.numpy())
    np.testing.assert_allclose(found, network(x).detach(), rtol=3e-2, atol=3e-2)


def test_an_import_that_is_wrong_beyond_float16s_rounding_is_found(tmp_path, monkeypatch):
    path = _half_network(tmp_path / "half.onnx")

    def wrong(inputs, attrs, held):
        return relax.op.multiply(inputs[0], relax.const(2.1, "float32"))

    monkeypatch.setitem(importer.OWN, "Mul", wrong)
    with pytest.raises(ModelError, match="not imported rightly"):
        load_checked(path)


def test_a_float64_file_stays_float64(tmp_path):
    weight, bias = RANDOM.normal(size=(4, 5)), RANDOM.normal(size=5)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["y"]),
    ]
    ends = [("x", TensorProto.DOUBLE, (2, 4))], [("y", TensorProto.DOUBLE, (2, 5))]
    model = load_checked(_saved(tmp_path / "net.onnx", nodes, *ends, {"w": weight, "b": bias}))
    x = RANDOM.normal(size=(2, 4))
    (found,) = run(model, HOST, tmp_path, x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.tanh(x @ weight + bias), rtol=1e-13)


@pytest.mark.parametrize("name", ["bfloat16", "int4", "string", "complex64"])
def test_an_input_that_no_app_can_hand_over_is_refused_by_its_type(name, tmp_path):
    kind = TensorProto.DataType.Value(name.upper())
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = _saved(tmp_path / "net.onnx", nodes, [("x", kind, (2,))], [("y", kind, (2,))], {})
    with pytest.raises(ModelError, match=f"input x is {name}; inputs can be float16"):
        from_onnx(path)
