"""Programs with free dimensions are exported anew at the shapes that are given."""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.errors import ModelError
from adaspring.frontend.from_torch.free_dimensions import is_plain, is_symbol
from adaspring.frontend.load import load_model
from adaspring.reference.executor import Reference
from adaspring.reference.import_check import load_checked

from ...support.free_shapes import Waves, export_encoder, export_words, run_torch, words


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    path = tmp_path_factory.mktemp("free") / "encoder.pt2"
    return path, export_encoder(path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 16), (3, 64)])
def test_each_shape_computes_what_torch_does(saved, shape):
    path, network = saved
    model = load_checked(path, {"ids": shape, "mask": shape})
    assert [spec.name for spec in model.inputs] == ["ids", "mask"]
    given = words(*shape)
    for ours, right in zip(Reference(model).run(*given), run_torch(network, *given), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)


def test_an_input_of_the_same_dimensions_follows(saved):
    model = load_model(saved[0], {"ids": (2, 7)})
    assert [spec.shape for spec in model.inputs] == [(2, 7), (2, 7)]


def test_weights_do_not_depend_on_the_shape(saved):
    short, long = (load_model(saved[0], {"ids": (1, t)}) for t in (8, 32))
    assert list(short.weights) == list(long.weights)
    for name, value in short.weights.items():
        np.testing.assert_array_equal(value, long.weights[name])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"ids": (1, 65)}, r"axis 1 of ids was exported for extents from 1 to 64; 65 is out"),
        ({"ids": (9, 16)}, r"axis 0 of ids was exported for extents from 1 to 8; 9 is out"),
        ({"ids": (1, 8), "mask": (1, 9)}, "axis 1 of ids is 8 and axis 1 of mask is 9; they are"),
        ({"x": (1, 8)}, "has no input 'x'; it has ids, mask"),
        ({"ids": (8,)}, r"input ids is \(s\d+, s\d+\); \(8,\) does not fit it"),
        (None, r"has free dimensions, ids .* give shapes, for example --shape ids=2,16"),
    ],
)
def test_a_shape_that_the_program_cannot_have_is_refused_with_the_reason(saved, shapes, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(saved[0], shapes)
    assert "\n" not in str(caught.value)


def test_a_dimension_that_is_a_multiple_of_another_takes_its_multiples_alone(tmp_path):
    class Halves(torch.nn.Module):
        def forward(self, x):
            return torch.relu(x.reshape(x.shape[0] // 2, 6)) + 1

    half = torch.export.Dim("half", min=1, max=8)
    program = torch.export.export(
        Halves(), (torch.ones(4, 3),), dynamic_shapes={"x": {0: 2 * half}}
    )
    torch.export.save(program, tmp_path / "halves.pt2")
    assert load_checked(tmp_path / "halves.pt2", {"x": (6, 3)}).outputs[0].shape == (3, 6)
    with pytest.raises(ModelError, match=r"halves\.pt2"):
        load_model(tmp_path / "halves.pt2", {"x": (5, 3)})


@pytest.mark.parametrize(
    "expression",
    [
        "Symbol('s27', positive=True, integer=True)",
        "Mul(Integer(32), Symbol('s27', positive=True, integer=True))",
        "Add(Integer(-1), Pow(Symbol('s0', integer=True), Integer(2)))",
        "FloorDiv(Symbol('s0', integer=True), Integer(2))",
    ],
)
def test_what_torch_writes_is_plain(expression):
    assert is_plain(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "Symbol('s0').__class__",
        "Symbol('__import__')",
        "Symbol('s0', integer=print(1))",
        "Integer('9' * 10**9)",
        "Integer(9**99999999)",
        "Pow(Integer(10), Integer(1000000000))",
        "Pow(Pow(Symbol('s0'), Integer(4)), Integer(4))",
        "Pow(Integer(2), Symbol('s0'))",
        "lambda: 1",
        "Mul(*[1])",
        "s0",
        "Add(" * 5000,
        "Integer(1)" + " " * 5000,
        "",
        None,
        7,
    ],
)
def test_what_could_run_code_or_never_end_is_not(expression):
    assert not is_plain(expression)


@pytest.mark.parametrize(("name", "right"), [("s0", True), ("u0", False), ("s0+exit()", False)])
def test_a_ranges_key_is_a_symbol_alone(name, right):
    assert is_symbol(name) is right


@pytest.mark.parametrize(
    "hostile", ["exit(3)", "Symbol('s0').func", "Pow(Integer(9), Integer(999999999))"]
)
def test_a_file_whose_expressions_were_changed_is_not_evaluated(saved, tmp_path, hostile):
    path = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(saved[0]) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("models/model.json"):
                text, wanted = data.decode(), f'"expr_str": "{hostile}"'
                data = re.sub(r"\"expr_str\": ?\"[^\"]*\"", wanted, text).encode()
            new.writestr(entry.filename, data)
    with pytest.raises(ModelError, match=r"free dimensions that torch\.export did not write"):
        load_model(path, {"ids": (1, 8)})


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_damaged_program_with_free_dimensions_gives_a_model_error_or_a_model(
    saved, tmp_path, place, bit
):
    path = tmp_path / "damaged.pt2"
    with zipfile.ZipFile(saved[0]) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = bytearray(old.read(entry))
            if entry.filename.endswith("models/model.json"):
                data[place % len(data)] ^= 1 << bit
            new.writestr(entry.filename, bytes(data))
    with suppress(ModelError):
        load_model(path, {"ids": (1, 8)})


def test_an_input_that_is_no_tensor_beside_a_free_dimension_is_refused(tmp_path):
    class Times(torch.nn.Module):
        def forward(self, x, count):
            return torch.relu(x) * count

    length = torch.export.Dim("length", max=9)
    program = torch.export.export(
        Times(), (torch.ones(4, 3), 2), dynamic_shapes={"x": {0: length}, "count": None}
    )
    torch.export.save(program, tmp_path / "times.pt2")
    with pytest.raises(ModelError, match="input count is not a tensor; fix it before exporting"):
        load_model(tmp_path / "times.pt2", {"x": (4, 3)})


def test_a_shape_that_no_memory_holds_is_refused_in_one_line(tmp_path):
    export_words(tmp_path / "any.pt2", Waves, longest=2**60)
    with pytest.raises(ModelError, match="cannot have the shape ids=1,1099511627776") as caught:
        load_model(tmp_path / "any.pt2", {"ids": (1, 2**40)})
    assert "\n" not in str(caught.value)


FACTORY = """
import torch
def network():
    return torch.nn.Linear(3, 2), (torch.ones(1, 3),)
"""


def test_a_function_s_network_is_exported_for_the_shapes(tmp_path, monkeypatch):
    (tmp_path / "shaped_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    assert load_model("shaped_factory:network", {"input": (4, 3)}).inputs[0].shape == (4, 3)
    for shapes, message in [
        ({"x": (4, 3)}, "has no input 'x'; it has input"),
        ({"input": (3,)}, r"input input is \(1, 3\); \(3,\) does not fit"),
        ({"input": (4, 5)}, "cannot trace"),
    ]:
        with pytest.raises(ModelError, match=message):
            load_model("shaped_factory:network", shapes)
