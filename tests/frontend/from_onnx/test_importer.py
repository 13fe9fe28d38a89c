"""ONNX files compute what ONNX Runtime computes, or are refused in one line."""

import contextlib
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from adaspring.errors import ModelError, UnsupportedOperator
from adaspring.frontend.from_onnx.importer import from_onnx

from ...support.frontend import operators, run
from ...support.networks import ALL, SmallCnn, SmallResNet, example_inputs
from ...support.outputs import assert_close


def reference(path, *inputs):
    session = onnxruntime.InferenceSession(path)
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")

    def export(make, dynamo, opset=18):
        network = make()
        path = folder / f"{make.__name__}-{dynamo}-{opset}.onnx"
        if not path.exists():
            # torch's exporters warn of their own deprecations
            with warnings.catch_warnings(action="ignore"):
                torch.onnx.export(
                    network,
                    example_inputs(network),
                    path,
                    dynamo=dynamo,
                    opset_version=opset,
                    verbose=False,
                )
        return path, example_inputs(network)

    return export


def save(path, nodes, inputs, outputs, weights=(), opset=18, **model):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in dict(weights).items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **model
    )
    onnx.save(proto, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("make", ALL)
def test_torchs_exporters_files_compute_what_onnx_runtime_does(exported, make, dynamo):
    path, inputs = exported(make, dynamo)
    model = from_onnx(path)
    assert_close(run(model, *inputs), reference(path, *inputs))
    assert "nn.batch_norm" not in operators(model)


@pytest.mark.parametrize("opset", [9, 11, 13])
def test_older_opsets_are_imported(exported, opset):
    path, inputs = exported(SmallCnn, False, opset)
    assert_close(run(from_onnx(path), *inputs), reference(path, *inputs))


def test_weights_are_named_as_the_initializers(exported):
    path, _ = exported(SmallResNet, True)
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    model = from_onnx(path)
    layers = {name.removesuffix(".weight") for name in names}
    for name in model.weights:
        assert name in names or name.removesuffix(".bias") in layers


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pad=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    kind=st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    kernel=st.integers(3, 5),  # ONNX Runtime refuses kernels smaller than the stride
    stride=st.integers(1, 3),
    size=st.integers(6, 12),
)
def test_automatic_padding_is_as_onnx_runtime_has_it(tmp_path, pad, kind, kernel, stride, size):
    rng = np.random.default_rng(kernel + 7 * stride)
    weights = {"w": rng.normal(size=(3, 2, kernel, kernel)).astype("float32")}
    conv = kind == "Conv"
    node = helper.make_node(
        kind,
        ["x", "w"] if conv else ["x"],
        ["y"],
        auto_pad=pad,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
    )
    shape = (1, 2, size, size + 1)
    path = save(
        tmp_path / "pad.onnx",
        [node],
        {"x": shape},
        {"y": (1, 3 if conv else 2, None, None)},
        weights if conv else {},
    )
    x = rng.normal(size=shape).astype("float32")
    assert_close(run(from_onnx(path), x), reference(path, x))


def test_batch_norm_in_the_file_is_folded(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        "conv.weight": rng.normal(size=(4, 2, 3, 3)),
        "g": rng.normal(size=4),
        "b": rng.normal(size=4),
        "m": rng.normal(size=4),
        "v": rng.uniform(0.5, 2, size=4),
    }
    weights = {name: value.astype("float32") for name, value in weights.items()}
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["y"]),
    ]
    shape = {"y": (1, 4, 4, 4)}
    path = save(tmp_path / "bn.onnx", nodes, {"x": (1, 2, 6, 6)}, shape, weights, opset=15)
    model = from_onnx(path)
    x = rng.normal(size=(1, 2, 6, 6)).astype("float32")
    assert operators(model) == ["nn.conv2d", "reshape", "add"]
    assert list(model.weights) == ["conv.weight", "conv.bias"]
    assert_close(run(model, x), reference(path, x))


def test_shape_arithmetic_is_computed_ahead(tmp_path):
    weights = {"zero": np.array([0]), "rest": np.array([-1])}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    path = save(tmp_path / "s.onnx", nodes, {"x": (2, 3, 4)}, {"y": (2, 12)}, weights)
    model = from_onnx(path)
    assert operators(model) == ["reshape"]
    assert model.outputs[0].shape == (2, 12)
    assert not model.weights


def relu(path, shape, **options):
    node = helper.make_node("Relu", ["x"], ["y"], name="the_node")
    return save(path, [node], {"x": shape}, {"y": shape}, **options)


def test_a_free_dimension_is_refused_with_the_way_to_fix_it(tmp_path):
    path = relu(tmp_path / "free.onnx", ("batch", 3, 8, 8))
    with pytest.raises(
        ModelError, match=r"input x has no fixed shape \(batch, 3, 8, 8\)"
    ) as caught:
        from_onnx(path)
    assert "--shape x=1,3,8,8" in str(caught.value)
    model = from_onnx(path, {"x": (2, 3, 8, 8)})
    assert model.inputs[0].shape == model.outputs[0].shape == (2, 3, 8, 8)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8), (0, 3, 8, 8)])
def test_a_given_shape_that_contradicts_the_file_is_refused(tmp_path, shape):
    path = relu(tmp_path / "free.onnx", ("batch", 3, 8, 8))
    with pytest.raises(ModelError, match=r"does not fit it|is not a shape"):
        from_onnx(path, {"x": shape})


def test_a_shape_for_an_input_that_does_not_exist_lists_the_inputs(tmp_path):
    with pytest.raises(ModelError, match="has no input 'image'; it has x"):
        from_onnx(relu(tmp_path / "relu.onnx", (1, 3)), {"image": (1, 3)})


def test_an_unknown_operator_is_named_with_its_node(tmp_path, capfd):
    node = helper.make_node("Det", ["x"], ["y"], name="the_node")
    path = save(tmp_path / "det.onnx", [node], {"x": (2, 3, 3)}, {"y": (2,)})
    with pytest.raises(UnsupportedOperator, match=r"operator Det \(node 'the_node'\)"):
        from_onnx(path)
    assert capfd.readouterr().out == ""


def test_a_setting_that_cannot_be_imported_is_refused_without_noise(tmp_path, capfd):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Pad", ["r", "w"], ["y"], name="the_pad", mode="reflect"),
    ]
    weights = {"w": np.array([0, -1, 0, 0])}
    path = save(tmp_path / "pad.onnx", nodes, {"x": (3, 4)}, {"y": (3, 3)}, weights)
    with pytest.raises(UnsupportedOperator, match=r"Pad \(node 'the_pad'\).*negative widths"):
        from_onnx(path)
    assert capfd.readouterr() == ("", "")


UPSAMPLE = {"scales": np.array([1, 1, 2, 3], "float32")}
SETTINGS = {
    "crossed bounds": (
        [helper.make_node("Clip", ["x", "low", "high"], ["y"])],
        {"low": np.float32(1), "high": np.float32(0.5)},
        18,
    ),
    "old clip": ([helper.make_node("Clip", ["x"], ["y"], min=-0.3, max=0.4)], {}, 10),
    "old upsample": ([helper.make_node("Upsample", ["x", "scales"], ["y"])], UPSAMPLE, 9),
    "old resize": (
        [helper.make_node("Resize", ["x", "none", "none", "sizes"], ["y"], mode="nearest")],
        {"none": np.zeros(0, "float32"), "sizes": np.array([1, 2, 9, 8])},
        11,
    ),
    "wrapped padding": (
        [helper.make_node("Pad", ["x", "w", "", "axes"], ["y"], mode="wrap")],
        {"w": np.array([1, 2, 0, 1]), "axes": np.array([-1, 2])},
        19,
    ),
    "cutting": (
        [helper.make_node("Pad", ["x", "w"], ["y"])],
        {"w": np.array([0, 0, -1, 2, 0, 0, 1, -1])},
        18,
    ),
    "negative places": (
        [helper.make_node("Gather", ["x", "i"], ["y"], axis=2)],
        {"i": np.array([[-1, 0], [2, -2]])},
        18,
    ),
    "tiles": ([helper.make_node("Tile", ["x", "r"], ["y"])], {"r": np.array([1, 2, 1, 3])}, 18),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_computes_what_onnx_runtime_does(tmp_path, name):
    nodes, weights, opset = SETTINGS[name]
    free = {"y": (None,) * (5 if name == "negative places" else 4)}
    path = save(tmp_path / "s.onnx", nodes, {"x": (1, 2, 5, 4)}, free, weights, opset)
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 4)).astype("float32")
    assert_close(run(from_onnx(path), x), reference(path, x))


def test_an_operator_of_another_domain_is_refused(tmp_path):
    node = helper.make_node("Gelu", ["x"], ["y"], name="g", domain="com.microsoft")
    path = tmp_path / "ms.onnx"
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2,))],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with pytest.raises(UnsupportedOperator, match=r"domain com\.microsoft"):
        from_onnx(path)


def external(path, location):
    """A network whose weight's data are said to lie at `location`."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4,), np.zeros(4, "float32"), raw=False)
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4,))],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_beside_the_model_are_read(tmp_path):
    np.arange(4, dtype="float32").tofile(tmp_path / "w.bin")
    model = from_onnx(external(tmp_path / "m.onnx", "w.bin"))
    np.testing.assert_array_equal(model.weights["w"], np.arange(4, dtype="float32"))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "sub/../../secret.bin"])
def test_external_data_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "inner" / "sub").mkdir(parents=True)
    with pytest.raises(ModelError, match="outside the model's folder"):
        from_onnx(external(tmp_path / "inner" / "m.onnx", location))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        from_onnx(external(tmp_path / "inner" / "m.onnx", "w.bin"))


def test_missing_external_data_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"are missing; put w\.bin beside the model"):
        from_onnx(external(tmp_path / "m.onnx", "w.bin"))


def test_a_very_old_opset_is_refused(tmp_path):
    with pytest.raises(ModelError, match="opset 6; export it with opset 7 or newer"):
        from_onnx(relu(tmp_path / "old.onnx", (1, 3), opset=6))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.floats(0, 1), flip=st.integers(0, 2**31), data=st.data())
def test_a_damaged_file_gives_a_model_error_or_a_model(tmp_path, cut, flip, data):
    content = bytearray(relu(tmp_path / "relu.onnx", (1, 3)).read_bytes())
    content[flip % len(content)] ^= 1 << flip % 8
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content[: int(cut * len(content))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(ModelError):
        from_onnx(path)
