"""Networks that PT2E quantized keep their scales, and compute what torch computes."""

import json
import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaspring.errors import ModelError, UnsupportedOperator
from adaspring.frontend import load_model
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import layers
from adaspring.reference.executor import Reference

from ...support.frontend import assert_in_the_irs_form, operators
from ...support.networks import Mlp, SmallCnn, SmallResNet, example_inputs
from ...support.outputs import assert_close
from ...support.pt2_files import MODEL, members, write
from ...support.pt2e_networks import OneLayer, quantized_as_by_pt2e


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pt2e")

    @cache
    def save(make, dtype):
        samples = [example_inputs(make(), seed) for seed in range(2, 5)]
        program = quantized_as_by_pt2e(make(), samples, dtype)
        path = folder / f"{make.__name__}-{dtype}.pt2"
        torch.export.save(program, path)
        return path, program

    return save


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (SmallCnn, torch.uint8),
        (SmallResNet, torch.int8),
        (Mlp, torch.uint8),
    ],
)
def test_what_pt2e_quantized_computes_what_torch_computes(saved, make, dtype):
    """Within 2 %: where a float lies between two levels, one rounding may differ."""
    path, program = saved(make, dtype)
    model = load_model(path)
    inputs = example_inputs(make(), seed=7)
    with torch.no_grad():
        expected = program.module()(*inputs).numpy()
    found = Reference(model).run(*(x.numpy() for x in inputs))
    assert_close(found, [expected], 0.02)
    assert_in_the_irs_form(model)
    assert "nn.batch_norm" not in operators(model)


def test_layers_are_named_as_in_the_source(saved):
    model = load_model(saved(SmallCnn, torch.uint8)[0])
    assert [layer.name for layer in layers(model)] == ["conv1", "conv2", "fc1", "fc2"]
    assert [layer.bias for layer in layers(model)][2:] == ["fc1.bias", "fc2.bias"]
    assert set(model.weights) == {
        f"{layer.name}.{part}"
        for layer in layers(model)
        for part in ("weight", "weight_scale", "bias")
    }


@settings(max_examples=6, deadline=None)
@given(
    kind=st.sampled_from([(torch.uint8, 0, 255), (torch.int8, -128, 127), (torch.uint8, 0, 127)]),
    zero=st.integers(0, 127),
    scale=st.sampled_from([0.01, 0.05, 0.1]),
    weight=st.sampled_from(["levels", "floats"]),
)
def test_a_dense_layer_computes_what_torch_computes(kind, zero, scale, weight):
    dtype, low, high = kind
    network = OneLayer(
        weight=weight, scale=scale, zero_point=zero, quant_min=low, quant_max=high, dtype=dtype
    )
    # on levels, some of them out of range, none between two levels
    x = (np.random.default_rng(1).integers(-300, 300, (3, 8)) * np.float32(scale)).astype("float32")
    model = from_torch(network, (torch.from_numpy(x),), name="one")
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    assert_close(Reference(model).run(x), [expected], 1e-5)
    assert_in_the_irs_form(model)
    assert model.weights["sums"].dtype == np.float32


@pytest.mark.slow
def test_a_process_that_never_quantized_reads_the_file(saved):
    path, _ = saved(Mlp, torch.uint8)
    code = "import sys; from adaspring.frontend import load_model; load_model(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path], check=True, env=dict(os.environ)
    )


def test_without_torchs_operators_the_error_says_what_to_install(saved, monkeypatch):
    path, _ = saved(Mlp, torch.uint8)
    monkeypatch.setitem(sys.modules, "torch.ao.quantization.fx._decomposed", None)
    monkeypatch.setattr(torch.ops, "quantized_decomposed", object())
    with pytest.raises(ModelError, match=r"quantized by PT2E, .*; install torchao"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, r"a scale is 0.0; scales must be finite and positive"),
        ({"scale": -0.5}, r"a scale is -0.5"),
        ({"zero_point": 300}, r"zero point 300 is out of range for uint8 \(0 to 255\)"),
        ({"quant_min": 200, "quant_max": 100}, r"a range of 200 to 100 does not fit uint8"),
        ({"dtype": torch.int16}, r"quantized values are int16; export with int8"),
    ],
)
def test_hostile_settings_are_refused(changes, message):
    with pytest.raises(UnsupportedOperator, match=message):
        from_torch(OneLayer(**changes), (torch.zeros(3, 8),), name="one")


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_scale_that_is_not_finite_is_refused(saved, tmp_path, value):
    content = members(saved(Mlp, torch.uint8)[0])
    program = json.loads(content[MODEL])
    node = next(
        n for n in program["graph_module"]["graph"]["nodes"] if ".quantize_per_" in n["target"]
    )
    for argument in node["inputs"]:
        if argument["name"] == "scale":
            argument["arg"] = {"as_float": value}
    content[MODEL] = json.dumps(program).encode()
    with pytest.raises(ModelError, match=r"a scale is (nan|inf)|is damaged|cannot be read"):
        load_model(write(tmp_path / "hostile.pt2", content))


def test_scales_of_the_wrong_number_are_refused():
    network = OneLayer()
    network.scales = torch.ones(4)
    network.zeros = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ModelError):
        from_torch(network, (torch.zeros(3, 8),), name="one")


def test_dynamic_quantization_is_refused():
    class Dynamic(torch.nn.Module):
        def forward(self, x):
            operators, settings = torch.ops.quantized_decomposed, (0, 255, torch.uint8)
            scale, zero = operators.choose_qparams(x, 0, 255, 1e-5, torch.uint8)
            small = operators.quantize_per_tensor.tensor(x, scale, zero, *settings)
            return operators.dequantize_per_tensor.tensor(small, scale, zero, *settings)

    with pytest.raises(UnsupportedOperator, match="choose_qparams"):
        from_torch(Dynamic(), (torch.randn(3, 8),), name="dynamic")


def test_scales_that_the_network_takes_are_refused():
    class Given(torch.nn.Module):
        def forward(self, x, scale):
            operators, zero = torch.ops.quantized_decomposed, torch.zeros((), dtype=torch.int64)
            settings = (0, 255, torch.uint8)
            small = operators.quantize_per_tensor.tensor(x, scale, zero, *settings)
            return operators.dequantize_per_tensor.tensor(small, scale, zero, *settings)

    with pytest.raises(UnsupportedOperator, match="must be constants; quantize statically"):
        from_torch(Given(), (torch.randn(3, 8), torch.tensor(0.1)), name="given")
