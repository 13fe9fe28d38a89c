"""A network that came quantized: compile → library → inspect → run, and the passes' refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tvm_ffi

from adaspring.errors import PassError
from adaspring.explore.costs import count_macs
from adaspring.explore.variants import agreement_ratio
from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.ir.layers import layers
from adaspring.ir.quantized_layers import integer_layers, is_quantized
from adaspring.passes import Factorize, Kept, Prune, Quantize, run
from adaspring.passes.quantize.imported import ImportedLayer, imported_layers

from ..support.cli import adaspring, answer, measure_briefly
from ..support.networks import Mlp
from ..support.passes import data, known
from ..support.quantized_networks import Graph, levels, output_scale, run_onnx_runtime, values

SHAPE = (1, 4, 8, 8)


def tiny(folder):
    """A convolution, a depthwise one, a residual sum, a pool and a dense layer.

    The second convolution stays in floats: it has a scale for each input.
    """
    graph = Graph(*SHAPE)
    x = graph.fake("x", 0.05, 128)
    w = graph.weight("conv.weight", levels((4, 4, 3, 3)), np.linspace(0.004, 0.01, 4), 0, 0)
    y = graph.fake(graph.node("Relu", graph.node("Conv", x, w, pads=[1] * 4)), 0.05, 0)
    w = graph.weight(
        "mixed.weight", levels((4, 4, 1, 1), seed=1), [0.004, 0.005, 0.006, 0.007], 0, 1
    )
    y = graph.fake(graph.node("Conv", y, w), 0.06, 128)
    w = graph.weight("depthwise.weight", levels((4, 1, 3, 3), seed=2), 0.005)
    z = graph.fake(graph.node("Conv", y, w, pads=[1] * 4, group=4), 0.06, 128)
    y = graph.fake(graph.node("Add", y, z), 0.1, 128)
    y = graph.fake(graph.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.1, 128)
    y = graph.fake(graph.node("Flatten", y), 0.1, 128)
    w = graph.weight("fc.weight", levels((64, 5), seed=3), 0.004)
    return graph.save(folder / "tiny.onnx", graph.fake(graph.node("MatMul", y, w), 0.2, 128))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(path):
    return from_onnx(path)


def compiled(path, folder, *more):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        measure_briefly(patch)
        return answer("compile", path, "--trials", 0, "-o", folder / "tiny.lib", *more)


def test_the_library_gives_what_onnx_runtime_gives(path, tmp_path):
    result = compiled(path, tmp_path)
    (board,) = result["boards"]
    assert [variant["name"] for variant in board["variants"]] == ["dense"]
    assert all("came quantized" in entry["reason"] for entry in result["skipped"])
    assert any("the network came quantized" in note for note in result["notes"])
    x = np.concatenate([values(SHAPE, seed) for seed in range(4)])
    np.savez(tmp_path / "x.npz", x=x)
    answer("run", tmp_path / "tiny.lib", "--input", tmp_path / "x.npz", "--output",
           tmp_path / "y.npz")  # fmt: skip
    with np.load(tmp_path / "y.npz") as written:
        (y,) = (written[name] for name in written.files)
    expected = np.concatenate([run_onnx_runtime(path, sample[None])[0] for sample in x])
    assert len(np.unique(expected)) > 10
    assert np.abs(y - expected).max() <= 1.001 * output_scale(path)
    shown = answer("inspect", tmp_path / "tiny.lib", "--decisions")
    decisions = {d["layer"]: d for d in shown["variants"][0]["decisions"]}
    assert decisions["conv"]["detail"] == "conv: came in int8, input scale 0.05, zero point 128"
    assert decisions["mixed"]["action"] == "kept"
    assert "in floats: its weight has a scale for each input" in decisions["mixed"]["detail"]
    assert {d["pass_name"] for d in decisions.values()} == {"import"}


def test_a_dry_run_shows_how_each_layer_came(path, tmp_path):
    shown = adaspring("compile", path, "--dry-run", "-o", tmp_path / "tiny.lib").stdout
    text = " ".join(shown.split())
    assert "came in int8, input scale 0.05" in text
    assert "4 layers, 1 of them in floats (mixed)" in text
    assert "import the float network" in text


@pytest.mark.parametrize(
    "settings", [Prune(keep_ratio=0.5), Factorize(max_error_ratio=0.1), Quantize()]
)
def test_passes_refuse_it_and_leave_it_as_it_is(model, settings):
    digest = tvm_ffi.structural_hash(model.module)
    with pytest.raises(PassError, match="conv is quantized already; compress floats"):
        run(model, (settings,), data(model, 8))
    assert tvm_ffi.structural_hash(model.module) == digest


def test_a_network_with_quantized_activations_alone_is_refused_too(tmp_path):
    graph = Graph(1, 4)
    w = graph.hold("fc.weight", values((4, 3)))
    path = graph.save(tmp_path / "half.onnx", graph.node("MatMul", graph.fake("x"), w))
    model = from_onnx(path)
    with pytest.raises(PassError, match="half is quantized already"):
        run(model, (Quantize(),), data(model, 8))
    assert imported_layers(model) == (Kept(layer="fc", why="in floats: its weight is in floats"),)


def test_layers_say_how_they_came(model):
    found = {decision.layer: decision for decision in imported_layers(model)}
    assert found["conv"] == ImportedLayer(
        layer="conv", scale=np.float32(0.05).item(), zero_point=128
    )
    assert isinstance(found["mixed"], Kept)
    integers = [layer.name for layer in integer_layers(model)]
    assert integers == ["conv", "depthwise", "fc"]
    macs = {layer.name: layer.macs_count for layer in layers(model)}
    assert count_macs(model).float32 == macs["mixed"]
    assert count_macs(model).int8 == sum(macs.values()) - macs["mixed"]


def test_a_weight_alone_leaves_its_layer_in_floats(tmp_path):
    graph = Graph(1, 4)
    w = graph.weight("fc.weight", levels((4, 3)))
    model = from_onnx(graph.save(tmp_path / "alone.onnx", graph.node("MatMul", "x", w)))
    assert imported_layers(model) == (Kept(layer="fc", why="in floats: its input is in floats"),)


def test_an_activation_by_channel_leaves_its_layer_in_floats(tmp_path):
    graph = Graph(1, 4, 3, 3)
    settings = {"scale": [0.1, 0.2, 0.3, 0.4], "zero_point": [1, 2, 3, 4], "axis": 1}
    x = graph.dequantize(graph.quantize("x", **settings), **settings)
    y = graph.node("Conv", x, graph.weight("conv.weight", levels((2, 4, 1, 1))))
    model = from_onnx(graph.save(tmp_path / "channels.onnx", y))
    why = "in floats: its input has a scale for each channel"
    assert imported_layers(model) == (Kept(layer="conv", why=why),)


def test_a_float_network_did_not_come_quantized():
    model = known(Mlp)
    assert not is_quantized(model)
    assert imported_layers(model) == ()
    assert integer_layers(model) == ()


def test_what_our_own_pass_quantized_computes_in_integers_alone():
    model = known(Mlp)
    small = run(model, (Quantize(),), data(model, 8)).model
    assert [layer.name for layer in integer_layers(small)] == [x.name for x in layers(small)]


def test_agreement_of_quantized_values_counts_the_lowest_too():
    lowest, next_to_it = np.full(3, -128, np.int8), np.full(3, -127, np.int8)
    assert agreement_ratio([next_to_it], [lowest]) == pytest.approx(1 / 128)
