"""Named dimensions of ONNX files: one name, one extent, in every input that has it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from adaspring.errors import ModelError
from adaspring.frontend.load import load_model
from adaspring.reference.executor import Reference
from adaspring.reference.import_check import load_checked

from ...support.free_shapes import masked_dense


@pytest.fixture
def path(tmp_path):
    masked_dense(tmp_path / "masked.onnx")
    return tmp_path / "masked.onnx"


@pytest.mark.parametrize("shape", [(1, 2, 4), (3, 5, 4)])
def test_each_shape_computes_what_onnx_runtime_does(path, shape):
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    given = {
        "x": rng.standard_normal(shape).astype(np.float32),
        "mask": rng.standard_normal((*shape[:2], 1)).astype(np.float32),
    }
    (right,) = onnxruntime.InferenceSession(path).run(None, given)
    (ours,) = Reference(load_checked(path, {"x": shape})).run(*given.values())
    np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-6)


def test_the_shape_of_an_input_follows_from_the_names_of_anothers_dimensions(path):
    model = load_model(path, {"x": (2, 7, 4)})
    assert [spec.shape for spec in model.inputs] == [(2, 7, 4), (2, 7, 1)]


@pytest.mark.parametrize("unnamed", ["", "?", "*", "-1", "None"])
def test_dimensions_without_a_name_have_nothing_in_common(tmp_path, unnamed):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, unnamed, unnamed])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, unnamed, unnamed])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    onnx.save(helper.make_model(graph), tmp_path / "relu.onnx")
    model = load_model(tmp_path / "relu.onnx", {"x": (1, 48, 192)})
    assert [spec.shape for spec in model.inputs] == [(1, 48, 192)]


def test_two_extents_of_one_name_are_refused(path):
    with pytest.raises(ModelError, match="dimension time is 7 in x and 8 in mask; it is one"):
        load_model(path, {"x": (2, 7, 4), "mask": (2, 8, 1)})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (2, 7, 5)}, "does not fit"),
        ({"x": (2, 7)}, "does not fit"),
        ({"z": (2, 7)}, "no input 'z'"),
        ({}, "no fixed shape"),
    ],
)
def test_a_shape_that_the_file_cannot_have_is_refused(path, shapes, message):
    with pytest.raises(ModelError, match=message):
        load_model(path, shapes)
