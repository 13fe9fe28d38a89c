"""Bad input: one line that says what to do, exit status 1, nothing half-written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from adaspring.library.manifest import DIGEST_NAME, MANIFEST_NAME
from adaspring.library.reader import digest_line
from adaspring.library.writer import write_library

from ..support.cli import adaspring, exported, mlp_data, refused, save_data
from ..support.libraries import parts
from ..support.networks import Mlp


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused_compile(*arguments, words, status=1):
    """A compile that must be refused, and leave neither a library nor a tuning log."""
    result = adaspring("compile", *arguments, "-o", "out.lib", "--logs", "tuning_logs")
    line = refused(result, *words, status=status)
    assert not Path("out.lib").exists()
    assert not Path("tuning_logs").exists()
    assert not list(Path.cwd().glob(".*"))
    return line


def save_onnx(path, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_a_missing_model_is_refused():
    refused_compile("nowhere.onnx", words=("nowhere.onnx does not exist", ".pt2"))


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_that_is_no_model_is_refused(folder, suffix):
    path = folder / f"text{suffix}"
    path.write_text("this is no model")
    refused_compile(path, words=(path.name,))


def test_a_pickle_is_refused_with_the_way_to_save_a_pt2(folder):
    torch.save(Mlp().state_dict(), folder / "net.pt")
    refused_compile("net.pt", words=("pickle", "torch.export.save"))


def test_an_unsupported_operator_is_named_with_its_layer(folder):
    node = helper.make_node("Det", ["x"], ["y"], name="head/det")
    path = save_onnx(folder / "det.onnx", [node], [value("x", 2, 2)], [value("y")])
    refused_compile(path, words=("Det", "head/det"))


def test_external_data_outside_the_models_folder_is_refused(folder):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "secret.bin").write_bytes(bytes(16))
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret.bin")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save_onnx(inner / "m.onnx", [node], [value("x", 1, 2)], [value("y", 1, 2)], [weight])
    refused_compile(path, words=("secret.bin",))


def test_a_free_dimension_asks_for_a_shape(folder):
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save_onnx(folder / "free.onnx", [node], [value("x", "n", 4)], [value("y", "n", 4)])
    refused_compile(path, words=("x",))
    refused_compile(path, "--shape", "x:1,4", words=("x=1,3,32,32",), status=2)


def test_an_unknown_board_lists_the_known_ones():
    words = ("raspbery", "did you mean 'raspberry-pi-5'", "rock-5b-mali", ".toml")
    refused_compile("nowhere.onnx", "--target", "raspbery-pi-5", words=words)


def test_an_unknown_recipe_is_wrong_use_and_lists_the_known_ones():
    path = exported(Mlp, ".onnx")
    refused_compile(path, "--recipe", "magic", words=("'magic'", "dense, "), status=2)


def test_a_board_named_twice_is_wrong_use():
    words = ("--target", "once")
    refused_compile("n.onnx", "--target", "host", "--target", "host", words=words, status=2)


def test_a_missing_argument_is_wrong_use():
    assert adaspring("compile", "net.onnx").exit_code == 2
    assert adaspring("compile", "net.onnx", "-o", "l", "--trials", "-1").exit_code == 2


def test_missing_data_are_refused():
    refused_compile(exported(Mlp, ".onnx"), "--data", "no.npz", words=("no.npz does not exist",))


def test_data_without_labels_are_refused_where_the_metric_needs_them(folder):
    save_data(folder / "d.npz", (64,))
    asked = ("--data", "d.npz", "--metric", "top1")
    refused_compile(exported(Mlp, ".onnx"), *asked, words=("no labels", "add y"))


def test_labels_out_of_range_are_refused(folder):
    save_data(folder / "d.npz", (64,), np.full(60, 10))
    words = ("label 10 of sample 0", "0 to 9")
    refused_compile(exported(Mlp, ".onnx"), "--data", "d.npz", words=words)


def test_samples_of_another_shape_or_type_are_refused(folder):
    save_data(folder / "d.npz", (63,), np.zeros(60, int))
    refused_compile(exported(Mlp, ".onnx"), "--data", "d.npz", words=("(63,)", "(64,)"))
    np.savez(folder / "i.npz", x=np.zeros((60, 64), np.uint8), y=np.zeros(60, int))
    refused_compile(exported(Mlp, ".onnx"), "--data", "i.npz", words=("uint8", "float32"))


def test_a_folder_that_holds_other_things_is_not_overwritten(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    result = adaspring("compile", exported(Mlp, ".onnx"), "-o", "mine", "--trials", 0)
    refused(result, "thesis.txt", "choose another path")
    assert (folder / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def library(folder):
    write_library(folder / "tiny.lib", parts())
    return folder / "tiny.lib"


COMMANDS = ("run", "bench", "inspect")


def forge(library, change):
    raw = json.loads((library / MANIFEST_NAME).read_bytes())
    change(raw)
    data = json.dumps(raw).encode()
    (library / MANIFEST_NAME).write_bytes(data)
    (library / DIGEST_NAME).write_bytes(digest_line(data))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_no_library_is_refused(command, folder):
    refused(adaspring(command, folder), "this is not a library", "adaspring compile")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_key_in_a_manifest_is_refused(command, library):
    forge(library, lambda raw: raw.update(colour="blue"))
    refused(adaspring(command, library), "colour", "rebuild")


@pytest.mark.parametrize("command", COMMANDS)
def test_another_schema_is_refused(command, library):
    forge(library, lambda raw: raw.update(schema_version=99))
    refused(adaspring(command, library), "schema 99", "upgrade adaspring")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_byte_in_any_file_is_refused(command, library):
    for path in sorted(p for p in library.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused(adaspring(command, library), str(path.relative_to(library)).split(".")[0])
        path.write_bytes(whole)
    assert adaspring("inspect", library).exit_code == 0


@pytest.mark.parametrize("command", ["run", "bench"])
@pytest.mark.usefixtures("aarch64_linker")
def test_a_library_for_another_board_is_refused(command, library):
    forge(library, lambda raw: raw["board"].update(architecture="aarch64", name="raspberry-pi-5"))
    refused(adaspring(command, library), "raspberry-pi-5", "--target host")
    assert adaspring("inspect", library, "--json").exit_code == 0


def test_an_unknown_variant_is_wrong_use(library):
    refused(adaspring("run", library, "--variant", "x"), "dense, rank16, rank4", status=2)


GOOD = {"image": np.zeros((6, 48), np.float32), "mask": np.zeros((6, 48), np.float32)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((6, 47), np.float32)}, ("image", "(6, 47)", "(48,)")),
        ({"image": np.zeros((6, 48))}, ("image", "float64", "float32")),
        ({"image": np.zeros((4, 48), np.float32)}, ("[4, 6]",)),
        ({"extra": np.zeros(6)}, ("extra", "image, mask")),
        ({"y": np.full(6, 10)}, ("label 10", "0 to 9")),
        ({"y": np.zeros(5, int)}, ("6 samples",)),
        ({"y": np.zeros(6)}, ("float64", "integer")),
    ],
)
def test_wrong_inputs_of_run_are_refused(library, folder, change, words):
    np.savez(folder / "in.npz", **(GOOD | change))
    result = adaspring("run", library, "--input", "in.npz", "--output", "out.npz")
    refused(result, *words)
    assert not (folder / "out.npz").exists()


def test_an_input_that_is_no_npz_is_refused(library, folder):
    (folder / "in.npz").write_text("no")
    refused(adaspring("run", library, "--input", "in.npz"), "np.savez")
    refused(adaspring("run", library, "--input", "none.npz"), "none.npz does not exist")
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    refused(adaspring("run", library, "--input", "objects.npz"), "objects.npz")


def test_a_library_with_one_variant_has_nothing_to_switch(folder):
    whole = parts()
    write_library(folder / "one.lib", replace(whole, variants=whole.variants[:1]))
    refused(adaspring("bench", "one.lib", "--switch"), "nothing to switch")


def test_verbose_shows_where_an_error_comes_from(folder):
    result = adaspring("inspect", folder, "--verbose")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_a_factory_that_prints_leaves_stdout_to_the_answer(folder):
    (folder / "printing_factory.py").write_text(
        "def make():\n    print('hello')\n    raise ValueError('no network today')\n"
    )
    refused_compile("printing_factory:make", "--json", words=("no network today",))


@pytest.mark.slow
def test_data_are_read_before_the_long_work(folder):
    mlp_data(folder / "d.npz")
    result = adaspring(
        "compile", exported(Mlp, ".onnx"), "--data", "d.npz", "-o", "l", "--dry-run", "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in folder.iterdir()] == ["d.npz"]


def test_a_board_that_cannot_be_built_for_is_refused_before_the_long_work(monkeypatch):
    from adaspring.backends.codegen import cuda

    monkeypatch.setattr(cuda, "available", lambda: "no CUDA compiler; install CUDA 13's toolkit")
    words = ("jetson-orin", "no CUDA compiler", "install")
    refused_compile(exported(Mlp, ".onnx"), "--target", "jetson-orin", words=words)


def test_a_board_that_fails_does_not_stop_the_others_but_fails_the_command(folder, monkeypatch):
    from adaspring.backends.codegen import cuda
    from adaspring.errors import BuildError

    def fail(*_):
        raise BuildError("the compiler crashed; install another")

    monkeypatch.setattr(cuda, "available", lambda: None)
    monkeypatch.setattr(cuda, "compile_library", fail)
    result = adaspring(
        "compile", exported(Mlp, ".onnx"), "--target", "jetson-orin", "--target", "raspberry-pi-5",
        "--recipe", "dense", "-o", "libs", "--json",
    )  # fmt: skip
    assert result.exit_code == 1
    jetson, pi = json.loads(result.stdout)["boards"]
    assert jetson["error"] == "the compiler crashed; install another"
    assert pi["error"] is None
    assert [path.name for path in (folder / "libs").iterdir()] == ["raspberry-pi-5"]
