"""Whatever is given as a model becomes a model, or one line that says what to do."""

import sys

import pytest
import torch

from adaspring.errors import ModelError
from adaspring.frontend import Model, load_model
from adaspring.frontend.from_torch.importer import from_torch

from ..support.networks import Mlp, example_inputs


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.onnx does not exist; give an \.onnx file"):
        load_model(tmp_path / "gone.onnx")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is a folder, not a model"):
        load_model(tmp_path)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a text\n" * 40, b"PK\x03\x04", bytes(64), b"\x80\x02}q\x00."]
)
def test_bytes_that_are_not_a_model_are_refused_in_one_line(tmp_path, suffix, content, capfd):
    path = tmp_path / f"not{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_pickle_is_refused_with_the_way_to_save_a_pt2(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save(Mlp().state_dict(), path)
    with pytest.raises(ModelError, match=r"torch\.export\.save\(torch\.export\.export\("):
        load_model(path)


def test_a_tensorflow_lite_model_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3")
    with pytest.raises(ModelError) as caught:
        load_model(path)
    command = f"python -m tf2onnx.convert --tflite {path} --output {tmp_path / 'model.onnx'}"
    assert str(caught.value).endswith(command)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match="not a model file that can be imported"):
        load_model(path)


FACTORIES = """
import torch
def network():
    return torch.nn.Linear(3, 2), (torch.ones(1, 3),)
def bare_tensor():
    return torch.nn.Linear(3, 2), torch.ones(1, 3)
def nothing():
    return None
def broken():
    raise RuntimeError("no weights here\\nsecond line")
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    name = f"factories_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("function", ["network", "bare_tensor"])
def test_a_function_of_the_working_directory_makes_a_model(factories, function):
    model = load_model(f"{factories}:{function}")
    assert model.name == function
    assert list(model.weights) == ["weight", "bias"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "returned NoneType; it must return a Model, or a torch module"),
        ("broken", "RuntimeError: no weights here"),
        ("absent", "AttributeError"),
    ],
)
def test_a_function_that_makes_no_model_is_refused_in_one_line(factories, function, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(f"{factories}:{function}")
    assert "\n" not in str(caught.value)


def test_a_function_may_return_a_model(factories, monkeypatch):
    network = Mlp()
    model = from_torch(network, example_inputs(network), name="mlp")
    monkeypatch.setitem(sys.modules, "given", type(sys)("given"))
    sys.modules["given"].make = lambda: model
    assert load_model("given:make") is model
    assert isinstance(model, Model)


def test_shapes_of_a_pt2_that_was_exported_with_fixed_ones_cannot_be_changed(tmp_path):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2), (torch.ones(2, 3),)), path)
    with pytest.raises(ModelError, match=r"fixed when a \.pt2 is exported"):
        load_model(path, {"input": (1, 3)})
