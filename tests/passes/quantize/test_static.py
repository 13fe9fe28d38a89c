"""Quantization writes the agreed form, and its numbers are those of integer arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from tvm import relax

from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers
from adaspring.passes import Kept
from adaspring.passes.quantize.calibrators import affine, auto
from adaspring.passes.quantize.int8_layer import Integer
from adaspring.passes.quantize.static import Quantize
from adaspring.passes.quantize.weight_rounding import round_to_nearest
from adaspring.reference.executor import Reference, evaluate

from ...support.networks import ALL, MobileNetStyle, SmallCnn, SmallResNet, TinyEncoder
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known


def quantized(model, calibration):
    quantize = Quantize()
    decisions = quantize.plan(model, calibration)
    small = quantize.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    return small, decisions


def test_before_and_after():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(6, 4)), (1, 6))
    small, (decision,) = quantized(model, data(model))
    calls = [value for _, value in Graph.of(small).bindings]
    names = [str(call.op.name).removeprefix("relax.") for call in calls]
    assert sorted(names) == sorted(
        ["dequantize", "permute_dims", "quantize", "dequantize", "matmul", "add"]
    )
    assert {name: a.dtype.name for name, a in small.weights.items()} == {
        "fc.weight": "int8",
        "fc.weight_scale": "float32",
        "fc.bias": "float32",
    }
    assert small.weights["fc.weight_scale"].shape == (4,)
    assert decision.input_range.scale > 0
    (layer,) = layers(small)
    graph = Graph.of(small)
    x = graph.call(layer.input, "relax.dequantize")
    assert is_call(graph.producers[x.args[0]], "relax.quantize")
    assert str(x.args[0].ty.dtype) == "uint8"
    weight = graph.call(graph.producers[layer.call].args[1], "relax.permute_dims").args[0]
    assert graph.call(weight, "relax.dequantize").args[0].same_as(small.weight_vars()["fc.weight"])


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_outputs_stay_near_the_dense_networks(network):
    model = known(network)
    small, _ = quantized(model, data(model, 64))
    assert error_ratio(model, small, data(model, 32, seed=1)) < 0.05


def residual(self, x):
    x = F.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
    return self.head((x + self.body(x)).mean((2, 3)))


def test_what_reads_a_quantized_image_reads_the_same_8_bits():
    """A residual add and max pooling do, so a board need not keep the reals."""
    parts = {"stem": nn.Conv2d(3, 8, 3), "body": nn.Conv2d(8, 8, 1), "head": nn.Linear(8, 4)}
    model = imported(Small(residual, **parts), (1, 3, 12, 12))
    small, _ = quantized(model, data(model))
    graph = Graph.of(small)
    body = layers(small)[1]
    (pool,) = [value for _, value in graph.bindings if is_call(value, "relax.nn.max_pool2d")]
    readers = [graph.producers[reader] for reader in graph.consumers[body.input]]
    assert sorted(str(reader.op.name) for reader in readers) == ["relax.add", "relax.nn.conv2d"]
    spans = [
        graph.call(tensor, "relax.dequantize").args[1:] for tensor in (body.input, pool.args[0])
    ]
    for one, other in zip(*spans, strict=True):
        assert one.value.numpy() == other.value.numpy()


def test_an_image_that_the_network_returns_stays_float():
    net = Small(
        lambda self, x: (y := torch.relu(self.a(x)), self.b(y)),
        a=nn.Conv2d(3, 8, 3),
        b=nn.Conv2d(8, 8, 3),
    )
    model = imported(net, (1, 3, 9, 9))
    small, _ = quantized(model, data(model))
    returned = Graph.of(small).outputs()[0]
    assert is_call(Graph.of(small).producers[returned], "relax.nn.relu")


def test_a_dense_layer_gives_what_integer_arithmetic_gives():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(16, 5)), (1, 16))
    samples = data(model, 40)
    small, (decision,) = quantized(model, samples)
    span = decision.input_range
    levels = np.rint(samples.inputs[0] / np.float32(span.scale)) + span.zero_point
    x = np.clip(levels, 0, 255).astype(np.int64) - span.zero_point
    sums = x @ small.weights["fc.weight"].astype(np.int64).T
    scale = np.float64(np.float32(span.scale)) * small.weights["fc.weight_scale"]
    wanted = sums * scale + small.weights["fc.bias"]
    np.testing.assert_allclose(evaluate(small, samples)[0], wanted, rtol=1e-5, atol=1e-5)


def test_tvm_compiles_the_form_to_the_same_numbers():
    def forward(self, x):
        return self.fc(torch.relu(self.c(x)).mean(dim=(2, 3)))

    net = Small(forward, c=nn.Conv2d(3, 8, 3, stride=2, padding=1), fc=nn.Linear(8, 4))
    model = imported(net, (1, 3, 9, 9))
    small, _ = quantized(model, data(model))
    x = data(model, 1, seed=3).inputs[0]
    main = relax.VirtualMachine(tvm.compile(small.module, "llvm"), tvm.cpu())["main"]
    given = main(*[tvm.runtime.tensor(a) for a in (x, *map(np.array, small.weights.values()))])
    np.testing.assert_allclose(Reference(small).run(x)[0], given.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [True, False])
def test_a_weight_is_rounded_by_output_channel(transposed):
    if transposed:
        net, stored = Small(lambda self, x: self.fc(x), fc=nn.Linear(6, 4)), "fc.weight"
    else:
        net, stored = Small(lambda self, x: x @ self.w), "w"
        net.w = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    model = imported(net, (1, 6))
    (layer,) = layers(model)
    plain = round_to_nearest(layer, model.weights[stored])
    levels, scale = plain.values, plain.scales
    per_output = scale[:, None] if transposed else scale[None, :]
    assert layer.transposed is transposed
    assert scale.shape == (4,)
    assert np.abs(levels).max(axis=1 if transposed else 0).tolist() == [127] * 4
    assert np.abs(levels * per_output - model.weights[stored]).max() <= scale.max() / 2 * 1.001


def test_tensors_that_several_layers_read_are_quantized_once():
    small, decisions = quantized(known(SmallResNet), data(known(SmallResNet), 8))
    graph = Graph.of(small)
    count = sum(is_call(value, "relax.quantize") for _, value in graph.bindings)
    inputs = {layer.input for layer in layers(small)}
    assert count == len(inputs) == len(decisions) - 2
    spans = {d.layer: d.input_range for d in decisions}
    assert spans["layer2.0.conv1"] == spans["layer2.0.downsample.0"]


def test_attention_stays_in_floats_and_its_dense_layers_do_not():
    model = known(TinyEncoder)
    _, decisions = quantized(model, data(model, 16))
    integers = {d.layer for d in decisions if isinstance(d, Integer)}
    assert integers == {layer.name for layer in layers(model)}
    whys = [d.why for d in decisions if isinstance(d, Kept)]
    assert whys == ["float: matmul of values that are not a layer's weight (k, n)"] * 4


def test_depthwise_layers_are_rounded_channel_by_channel():
    model = known(MobileNetStyle)
    small, decisions = quantized(model, data(model, 8))
    assert "blocks.0.depthwise.0" in {d.layer for d in decisions if isinstance(d, Integer)}
    assert small.weights["blocks.0.depthwise.0.weight_scale"].shape == (32,)


def test_without_data_it_says_what_to_give():
    with pytest.raises(PassError, match="needs calibration data; give a data set"):
        Quantize().plan(known(SmallCnn), None)


def test_a_second_quantization_is_refused():
    model = known(SmallCnn)
    samples = data(model, 8)
    small, _ = quantized(model, samples)
    with pytest.raises(PassError, match="quantized already"):
        Quantize().plan(small, samples)


def test_a_weight_with_nan_is_refused():
    model = known(SmallCnn)
    broken = model.weights["fc1.weight"].copy()
    broken[3, 3] = np.inf
    model = model.evolved(model.module, {**model.weights, "fc1.weight": broken})
    with pytest.raises(PassError, match="weight of fc1 holds NaN or infinity"):
        Quantize().plan(model, data(model, 4))


def test_the_input_is_untouched():
    model = known(SmallResNet)
    before = fingerprint(model)
    quantized(model, data(model, 8))
    assert fingerprint(model) == before


def test_bias_correction_is_kept_where_it_helps():
    model = known(MobileNetStyle)
    samples = data(model, 64)
    quantize = Quantize()
    decisions = quantize.plan(model, samples)
    assert any(d.bias is not None for d in decisions if isinstance(d, Integer))
    plain = [replace(d, bias=None) for d in decisions if isinstance(d, Integer)]
    with_bias = error_ratio(model, quantize.apply(model, decisions), samples)
    assert with_bias < error_ratio(model, quantize.apply(model, plain), samples)


def test_all_zero_weights_give_the_bias():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(8, 4))
    with torch.no_grad():
        net.fc.weight.zero_()
    model = imported(net, (1, 8))
    samples = data(model, 8)
    small, _ = quantized(model, samples)
    np.testing.assert_allclose(evaluate(small, samples)[0], evaluate(model, samples)[0], rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_constant_activations_are_exact(value):
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(8, 4)), (1, 8))
    samples = Dataset(inputs=(np.full((8, 8), value, np.float32),))
    small, _ = quantized(model, samples)
    np.testing.assert_allclose(
        evaluate(small, samples)[0], evaluate(model, samples)[0], rtol=1e-4, atol=1e-5
    )


def test_one_outlier_does_not_ruin_the_other_samples():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 16)), (1, 64))
    samples = data(model, 100)
    samples.inputs[0][17, 5] = 1e4
    small, _ = quantized(model, samples)
    assert error_ratio(model, small, data(model, 32, seed=1)) < 0.1


def test_an_outlier_in_a_weight_stays_in_its_own_channel():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 16))
    with torch.no_grad():
        net.fc.weight[3, 3] = 1e4
    model = imported(net, (1, 64))
    samples = data(model, 64)
    small, _ = quantized(model, samples)
    others = [i for i in range(16) if i != 3]
    a, b = evaluate(model, samples)[0][:, others], evaluate(small, samples)[0][:, others]
    assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(a)


@settings(max_examples=60, deadline=None)
@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_zero_is_always_exact(low, high):
    scale, zero_point = affine(min(low, high), max(low, high))
    assert scale > 0
    assert 0 <= zero_point <= 255
    level = np.clip(np.rint(np.float32(0) / np.float32(scale)) + zero_point, 0, 255)
    assert (level - zero_point) * scale == 0.0


@settings(max_examples=40, deadline=None)
@given(
    values=arrays.arrays(np.float64, (4, 50), elements=st.floats(-100, 100, allow_subnormal=False))
)
def test_the_chosen_range_is_no_worse_than_the_whole_span(values):
    chosen = auto(values)
    scale, zero_point = affine(values.min(), values.max())
    levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
    error = np.square((levels - zero_point) * scale - values).mean(axis=1)
    power = np.square(values).mean(axis=1)
    whole = float(np.mean(error / np.where(power > 0, power, 1.0)))
    assert chosen.error_ratio <= whole * (1 + 1e-9) + 1e-30
