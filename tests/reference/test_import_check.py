"""What was imported is held against its source, and the first wrong operator is named."""

import builtins
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from tvm import relax

from adaspring.errors import ModelError
from adaspring.frontend.from_onnx import importer as onnx_importer
from adaspring.frontend.load import import_model
from adaspring.reference.import_check import check_import, load_checked


@pytest.fixture
def network(tmp_path):
    """Conv, Clip, Conv, Sigmoid."""
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.normal(size=(4, 3, 3, 3)),
        "b": rng.normal(size=(4, 4, 3, 3)),
        "lo": np.float32(0),
        "hi": np.float32(1),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], "first"),
        helper.make_node("Clip", ["c", "lo", "hi"], ["d"], "middle"),
        helper.make_node("Conv", ["d", "b"], ["e"], "second"),
        helper.make_node("Sigmoid", ["e"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 4, 4))],
        [numpy_helper.from_array(np.asarray(v, "f4"), k) for k, v in weights.items()],
    )
    path = tmp_path / "net.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_right_import_passes(network):
    assert load_checked(network).name == "net"


def test_a_wrong_import_names_the_first_wrong_operator(network, monkeypatch):
    wrong = {"Clip": lambda inputs, attrs, held: relax.op.nn.relu(inputs[0])}
    monkeypatch.setattr(onnx_importer, "OWN", onnx_importer.OWN | wrong)
    with pytest.raises(ModelError, match=r"output 0 differs by .*Clip \(node 'middle'\)"):
        load_checked(network)
    assert load_checked(network, check=False).name == "net"


def test_a_wrong_type_is_an_error(network, monkeypatch):
    wrong = {"Clip": lambda inputs, attrs, held: relax.op.astype(inputs[0], "float64")}
    monkeypatch.setattr(onnx_importer, "OWN", onnx_importer.OWN | wrong)
    with pytest.raises(ModelError):
        load_checked(network)


def test_without_onnx_runtime_onnxs_own_evaluator_is_asked(network, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("onnxruntime"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    wrong = {"Clip": lambda inputs, attrs, held: relax.op.nn.relu(inputs[0])}
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert load_checked(network).name == "net"
    monkeypatch.setattr(onnx_importer, "OWN", onnx_importer.OWN | wrong)
    with pytest.raises(ModelError, match="Clip"):
        load_checked(network)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(torch.sigmoid(self.a(x)) * 3)


def test_a_torch_program_is_held_against_torch(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Small().eval(), (torch.randn(2, 8),)), path)
    imported = import_model(path)
    check_import(imported)
    weights = dict(imported.model.weights) | {"a.weight": np.eye(8, dtype="float32")}
    other = type(imported)(imported.model.evolved(imported.model.module, weights), imported.source)
    with pytest.raises(ModelError, match="was not imported rightly"):
        check_import(other)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.line = nn.Embedding(300, 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.line(self.embedding(ids))


def test_integers_are_drawn_over_what_is_indexed(tmp_path):
    path = tmp_path / "net.pt2"
    ids = torch.zeros(1, 200, dtype=torch.long)
    torch.export.save(torch.export.export(Tokens().eval(), (ids,)), path)
    imported = import_model(path)
    weights = {name: value.copy() for name, value in imported.model.weights.items()}
    weights["embedding.weight"][150:] = 7  # a fault beyond the first indices
    other = type(imported)(imported.model.evolved(imported.model.module, weights), imported.source)
    with pytest.raises(ModelError, match="was not imported rightly"):
        check_import(other)


class Rounding(nn.Module):
    def forward(self, x):
        return torch.round(x.sum(-1, keepdim=True) * 1e6), (x * 1e4).to(torch.int32)


def test_steps_of_rounding_are_no_fault(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Rounding().eval(), (torch.randn(50, 300),)), path)
    load_checked(path)


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 3)

    def forward(self, ids):
        return self.embedding((ids * ids) % 7 // 2)


def test_integers_are_drawn_smaller_where_the_source_fails_on_them(tmp_path):
    path = tmp_path / "net.pt2"
    ids = torch.zeros(1, 5, dtype=torch.long)
    torch.export.save(torch.export.export(Pairs().eval(), (ids,)), path)
    load_checked(path)


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 3)

    def forward(self, ids):
        return self.embedding(ids * 0 + 9)


def test_a_network_on_which_its_own_framework_fails_cannot_be_checked(tmp_path):
    path = tmp_path / "net.pt2"
    ids = torch.zeros(1, 5, dtype=torch.long)
    torch.export.save(torch.export.export(Never().eval(), (ids,)), path)
    with pytest.raises(ModelError, match=r"its own framework fails on it .*--no-check-import"):
        load_checked(path)
    assert load_checked(path, check=False).name == "net"


class MaskOfOnes(nn.Module):
    """Adds (1 - mask) * the least float, as text encoders do: a mask of 2 gives infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(1.0, 7.0))

    def forward(self, x, mask):
        hidden = (1.0 - mask) * torch.finfo(torch.float32).min
        return torch.softmax(self.scale * x + hidden, -1)


def test_a_mask_that_only_ones_and_zeros_fit_is_drawn_so(tmp_path):
    given = (torch.ones(1, 6), torch.ones(1, 6, dtype=torch.int64))
    program = torch.export.export(MaskOfOnes().eval(), given)
    torch.export.save(program, tmp_path / "mask.pt2")
    imported = import_model(tmp_path / "mask.pt2")
    check_import(imported)
    wrong = {name: 2 * value for name, value in imported.model.weights.items()}
    model = imported.model.evolved(imported.model.module, wrong)
    with pytest.raises(ModelError, match="was not imported rightly"):
        check_import(replace(imported, model=model))
