"""Branches and loops that shapes and constants decide are written out; others are refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from adaspring.errors import UnsupportedOperator
from adaspring.frontend.from_onnx.importer import from_onnx

from ...support.frontend import operators, run
from ...support.outputs import assert_close

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def value(name, shape=None, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(array)))


def graph(nodes, inputs=(), outputs=(), weights=()):
    held = [numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
    return helper.make_graph(nodes, "inner", list(inputs), list(outputs), held)


def save(folder, nodes, ranks=(2,), inputs=None, weights=(), opset=17):
    """Save a network whose outputs, of these ranks, are y and rows."""
    inputs = inputs or [value("x", ["n", 3])]
    names = [
        [f"{name}{axis}" for axis in range(rank)] for name, rank in zip("yr", ranks, strict=False)
    ]
    outputs = [value(*each) for each in zip(("y", "rows"), names, strict=False)]
    made = graph(nodes, inputs, outputs, weights)
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = folder / "network.onnx"
    onnx.save(proto, path)
    return path


def check(path, x=X):
    model = from_onnx(path, {"x": x.shape})
    assert_close(run(model, x), onnxruntime.InferenceSession(path).run(None, {"x": x}))
    return model


def branch(factor):
    """Both branches of an If may use the same names."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["made"])]
    weight = factor * np.eye(3, 4, dtype=np.float32)
    return graph(nodes, outputs=[value("made")], weights={"w": weight})


@pytest.mark.parametrize("count", [2, 5])
def test_a_branch_that_a_shape_decides_is_taken_at_import(count, tmp_path):
    branches = {"then_branch": branch(2), "else_branch": branch(3)}
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Equal", ["rows", "count"], ["fits"]),
        helper.make_node("If", ["fits"], ["y"], **branches),
    ]
    path = save(tmp_path, nodes, weights={"zero": np.array(0), "count": np.array(count)})
    assert operators(check(path)) == ["matmul"]


def test_branches_in_branches_are_decided_one_after_the_other(tmp_path):
    deep = helper.make_node(
        "If",
        ["wide"],
        ["z"],
        then_branch=graph([helper.make_node("Neg", ["made"], ["made2"])], (), [value("made2")]),
        else_branch=graph([helper.make_node("Abs", ["made"], ["made2"])], (), [value("made2")]),
    )
    outer = graph(
        [
            helper.make_node("Reshape", ["x", "flat"], ["made"]),
            helper.make_node("Size", ["made"], ["size"]),
            helper.make_node("Greater", ["size", "four"], ["wide"]),
            deep,
        ],
        (),
        [value("z")],
        {"flat": np.array([-1]), "four": np.array(4)},
    )
    unused = graph([helper.make_node("Det", ["x"], ["made"])], (), [value("made")])
    nodes = [
        constant("yes", True),
        helper.make_node("If", ["yes"], ["y"], then_branch=outer, else_branch=unused),
        helper.make_node("Identity", ["x"], ["made"]),
        helper.make_node("Exp", ["made"], ["rows"]),
    ]
    assert operators(check(save(tmp_path, nodes, (1, 2)))) == ["reshape", "negative", "exp"]


def test_a_condition_that_the_network_computes_is_refused(tmp_path):
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["big"]),
        helper.make_node(
            "If",
            ["big"],
            ["y"],
            name="choice",
            then_branch=graph([helper.make_node("Neg", ["x"], ["a"])], (), [value("a")]),
            else_branch=graph([helper.make_node("Abs", ["x"], ["b"])], (), [value("b")]),
        ),
    ]
    path = save(tmp_path, nodes, weights={"limit": np.float32(1)})
    with pytest.raises(UnsupportedOperator, match=r"If \(node 'choice'\).* runs, from x; export"):
        from_onnx(path, {"x": (2, 3)})


def loop(steps, body_nodes, goes_on="on", condition="", collects=True):
    outputs = [value(goes_on, dtype=BOOL), value("s_out"), *([value("row")] if collects else [])]
    body = graph(
        [*body_nodes, helper.make_node("Identity", ["s_out"], ["row"])],
        [value("i", [], INT64), value("on", [], BOOL), value("s", [2, 3])],
        outputs,
    )
    names = ["y", "rows"] if collects else ["y"]
    return [
        helper.make_node("Identity", [steps], ["limit"]),
        helper.make_node("Loop", ["limit", condition, "x"], names, name="rounds", body=body),
    ]


STEP = [
    helper.make_node("Cast", ["i"], ["number"], to=FLOAT),
    helper.make_node("Mul", ["s", "number"], ["scaled"]),
    helper.make_node("Add", ["scaled", "x"], ["s_out"]),
]


@pytest.mark.parametrize("opset", [11, 17])
def test_a_loop_of_a_known_number_of_steps_is_written_out(opset, tmp_path):
    nodes = loop("three", STEP)
    path = save(tmp_path, nodes, (2, 3), weights={"three": np.array(3)}, opset=opset)
    model = check(path)
    assert model.outputs[1].shape == (3, 2, 3)


def test_a_loop_without_steps_gives_back_what_it_began_with(tmp_path):
    path = save(tmp_path, loop("none", STEP, collects=False), weights={"none": np.array(0)})
    assert_close(run(from_onnx(path, {"x": (2, 3)}), X), [X])


@pytest.mark.parametrize(
    ("steps", "body", "goes_on", "why"),
    [
        (5000, STEP, "on", "runs 5000 times 4 operators; loops of at most 1000"),
        (0, STEP, "on", "runs no step"),
        (
            3,
            [*STEP, helper.make_node("Less", ["number", "half"], ["more"])],
            "more",
            "ends by a condition that it computes",
        ),
    ],
)
def test_a_loop_that_cannot_be_written_out_is_refused(steps, body, goes_on, why, tmp_path):
    weights = {"steps": np.array(steps), "half": np.float32(0.5)}
    path = save(tmp_path, loop("steps", body, goes_on), (2, 3), weights=weights)
    with pytest.raises(UnsupportedOperator, match=rf"Loop \(node 'rounds'\).*{why}"):
        from_onnx(path, {"x": (2, 3)})


def test_a_loop_whose_number_of_steps_is_an_input_is_refused(tmp_path):
    inputs = [value("x", [2, 3]), value("steps", [], INT64)]
    path = save(tmp_path, loop("steps", STEP), (2, 3), inputs)
    with pytest.raises(
        UnsupportedOperator,
        match="number of steps is computed as the network runs, from steps; exp",
    ):
        from_onnx(path)


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_is_written_out(backwards, tmp_path):
    body = graph(
        [
            helper.make_node("Add", ["total", "item"], ["sum"]),
            helper.make_node("Identity", ["sum"], ["row"]),
        ],
        [value("total", [2]), value("item", [2])],
        [value("sum"), value("row")],
    )
    scan = helper.make_node(
        "Scan",
        ["start", "x"],
        ["y", "rows"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[backwards],
        scan_output_axes=[1],
        scan_output_directions=[backwards],
    )
    weights = {"start": np.ones(2, np.float32)}
    check(save(tmp_path, [scan], (1, 2), weights=weights))


def test_shapes_that_follow_from_one_another_are_all_found(tmp_path):
    nodes, last = [], "x"
    for layer in range(4):  # as exporters write attention: a shape, a reshape, a shape of that
        made = [f"layer{layer}_{index}" for index in range(8)]
        nodes += [
            helper.make_node("Shape", [last], [made[0]]),
            helper.make_node("Gather", [made[0], "zero"], [made[1]]),
            helper.make_node("Concat", [made[1], "rest"], [made[2]], axis=0),
            helper.make_node("Reshape", [last, made[2]], [made[3]]),
            helper.make_node("Shape", [made[3]], [made[4]]),
            helper.make_node("ReduceProd", [made[4]], [made[5]]),
            helper.make_node("Reshape", [made[3], made[5]], [made[6]]),
            helper.make_node("Reshape", [made[6], "back"], [made[7]]),
        ]
        last = made[7]
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    weights = {"zero": np.array([0]), "rest": np.array([3, 1]), "back": np.array([-1, 3])}
    check(save(tmp_path, nodes, weights=weights))
