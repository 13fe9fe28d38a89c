"""LSTM, GRU and RNN become a dense layer and a loop that give what ONNX Runtime gives."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from adaspring.errors import UnsupportedOperator
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.ir.layers import layers

from ...support.frontend import operators, run
from ...support.outputs import assert_close

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, SAMPLES, WIDTH, HIDDEN = 5, 2, 3, 4


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save(folder, operator, weights=(), states=(), opset=17, extra=(), **attributes):
    """A network of one recurrent node; `extra` are nodes before it."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    batch_first = bool(attributes.get("layout"))
    gates, sizes = GATES[operator], (SAMPLES, STEPS) if batch_first else (STEPS, SAMPLES)
    held = {
        "w": random(directions, gates * HIDDEN, WIDTH, seed=1),
        "r": random(directions, gates * HIDDEN, HIDDEN, seed=2),
        "b": random(directions, 2 * gates * HIDDEN, seed=3),
        **dict(weights),
    }
    state = (SAMPLES, directions, HIDDEN) if batch_first else (directions, SAMPLES, HIDDEN)
    names = [
        "x",
        "w",
        "r",
        "b" if held["b"] is not None else "",
        "lengths" if "lengths" in held else "",
    ]
    inputs = {"x": (*sizes, WIDTH), **dict.fromkeys(states, state)}
    names += [*states, *(["", "", "p"] if "p" in held else [])]
    outputs = ["y", "y_h", "y_c"][: 3 if operator == "LSTM" else 2]
    attributes.setdefault("hidden_size", HIDDEN)
    node = helper.make_node(operator, names, outputs, name="layer", **attributes)
    ranks = [[f"{name}{axis}" for axis in range(4 if name == "y" else 3)] for name in outputs]
    graph = helper.make_graph(
        [*extra, node],
        "network",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, rank)
            for n, rank in zip(outputs, ranks, strict=True)
        ],
        [numpy_helper.from_array(value, name) for name, value in held.items() if value is not None],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = folder / "network.onnx"
    onnx.save(proto, path)
    return path


def check(path):
    model = from_onnx(path)
    feeds = {spec.name: random(*spec.shape, seed=7) for spec in model.inputs}
    wanted = onnxruntime.InferenceSession(path).run(None, feeds)
    assert_close(run(model, *feeds.values()), wanted)
    return model


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", GATES)
def test_a_layer_gives_what_onnx_runtime_gives_in_every_direction(operator, direction, tmp_path):
    states = ("h", "c") if operator == "LSTM" else ("h",)
    model = check(save(tmp_path, operator, states=states, direction=direction))
    assert operators(model).count("adaspring.recurrent") == (2 if direction[0] == "b" else 1)
    assert {layer.name for layer in layers(model)} >= {"layer.input"}


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
        ("RNN", {"activations": ["Relu"]}),
        ("RNN", {"activations": ["Relu", "Relu"], "direction": "bidirectional"}),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
    ],
)
def test_forms_of_a_cell_give_what_onnx_runtime_gives(operator, attributes, tmp_path):
    check(save(tmp_path, operator, **attributes))


def test_a_layer_without_bias_of_whole_sequences_begins_at_zero(tmp_path):
    weights = {"b": None, "lengths": np.full(SAMPLES, STEPS, np.int32)}
    model = check(save(tmp_path, "LSTM", weights))
    assert "zeros" not in operators(model)


def test_weights_that_the_file_computes_are_computed_ahead(tmp_path):
    nodes = [
        helper.make_node("Slice", ["both", "from", "to"], ["one"]),
        helper.make_node("Unsqueeze", ["one", "from"], ["w"]),
    ]
    weights = {
        "w": None,
        "both": random(20, WIDTH),
        "from": np.array([0]),
        "to": np.array([16]),
    }
    check(save(tmp_path, "LSTM", weights, extra=nodes))


@pytest.mark.parametrize(
    ("weights", "attributes", "why"),
    [
        ({"p": random(1, 3 * HIDDEN)}, {}, "it has peepholes"),
        ({}, {"clip": 1.0}, "its attribute clip = 1.0"),
        ({}, {"input_forget": 1}, "its attribute input_forget = 1"),
        ({}, {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "activations hardsigmoid, tanh, ta"),
        ({"lengths": np.array([5, 3], np.int32)}, {}, r"sequence_lens are \[5, 3\]; only whole"),
    ],
)
def test_what_of_a_layer_is_not_honoured_is_refused_by_name(weights, attributes, why, tmp_path):
    path = save(tmp_path, "LSTM", weights, **attributes)
    with pytest.raises(UnsupportedOperator, match=rf"LSTM \(node 'layer'\) cannot.*{why}"):
        from_onnx(path)


def test_weights_that_the_network_computes_are_refused(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["half", "mean"], ["w"]),
    ]
    weights = {"w": None, "half": random(1, 4 * HIDDEN, WIDTH)}
    path = save(tmp_path, "LSTM", weights, extra=nodes)
    with pytest.raises(UnsupportedOperator, match="input 1 is computed by the network"):
        from_onnx(path)
