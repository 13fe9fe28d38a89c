"""Rounding to 16 bits writes the agreed form, and its numbers are those of the rounded values."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import DataError, PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers, weight_bytes
from adaspring.passes import Factorize, Kept, Prune, Quantize, SixteenBit, run
from adaspring.passes.quantize.sixteen_bit import SixteenBitLayer
from adaspring.reference.executor import evaluate

from ...support.models import dense
from ...support.networks import ALL, MobileNetStyle, SmallCnn, SmallResNet
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known

BF16 = np.dtype(ml_dtypes.bfloat16)


def rounded(model, dtype="bfloat16", calibration=None):
    half = SixteenBit(dtype=dtype)
    decisions = half.plan(model, calibration)
    small = half.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    return small, decisions


def test_before_and_after():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(6, 4)), (1, 6))
    small, (decision,) = rounded(model)
    names = [str(v.op.name).removeprefix("relax.") for _, v in Graph.of(small).bindings]
    assert sorted(names) == sorted(["astype"] * 3 + ["permute_dims", "matmul", "add"])
    types = {name: array.dtype.name for name, array in small.weights.items()}
    assert types == {"fc.weight": "bfloat16", "fc.bias": "float32"}
    (layer,) = layers(small)
    assert (layer.stored.dtype, layer.quantized, layer.bias) == ("bfloat16", False, "fc.bias")
    graph = Graph.of(small)
    x = graph.call(layer.input, "relax.astype")
    assert str(x.args[0].ty.dtype) == "bfloat16"
    assert is_call(graph.producers[x.args[0]], "relax.astype")
    assert decision.describe().startswith("fc: bfloat16, weights changed by 0.")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_outputs_stay_near_the_float_networks(network, dtype):
    model = known(network)
    small, decisions = rounded(model, dtype, data(model, 8))
    changed = [d for d in decisions if isinstance(d, SixteenBitLayer)]
    saved = sum(2 * model.weights[f"{d.layer}.weight"].size for d in changed)
    assert weight_bytes(small) == weight_bytes(model) - saved
    assert changed
    assert error_ratio(model, small, data(model, 16, seed=1)) < 0.02


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    dtype=st.sampled_from(["bfloat16", "float16"]),
)
def test_a_dense_layer_sums_products_of_rounded_values(seed, shape, dtype):
    random = np.random.default_rng(seed)
    weight = random.standard_normal(shape).astype(np.float32)
    bias = random.standard_normal(shape[0]).astype(np.float32)
    x = random.standard_normal((3, shape[1])).astype(np.float32)
    model = dense(weight, bias)
    samples = Dataset(inputs=(x,))
    small, _ = rounded(model, dtype, samples)
    a, w = (v.astype(dtype).astype(np.float64) for v in (x, weight))
    found = evaluate(small, samples)[0]
    np.testing.assert_allclose(found, a @ w.T + bias, rtol=1e-5, atol=1e-5)


def test_a_value_that_two_layers_read_is_rounded_once():
    model = known(SmallResNet)
    small, _ = rounded(model)
    casts = [v for _, v in Graph.of(small).bindings if is_call(v, "relax.astype")]
    to_half = [call for call in casts if str(call.attrs.dtype) == "bfloat16"]
    inputs = {layer.input for layer in layers(small)}
    assert len(to_half) == len(inputs) == len(layers(small)) - 2


def test_depthwise_layers_stay_as_they_are():
    model = known(MobileNetStyle)
    small, decisions = rounded(model)
    kept = {d.layer: d.why for d in decisions if isinstance(d, Kept)}
    depthwise = [layer for layer in layers(model) if layer.kind == "depthwise"]
    assert set(kept) == {layer.name for layer in depthwise}
    assert all("no products to sum in pairs" in why for why in kept.values())
    assert all(small.weights[layer.weight].dtype == np.float32 for layer in depthwise)


def test_a_weight_that_float16_cannot_hold_stays():
    model = dense(np.array([[1.0, 7e4]], np.float32))
    small, (decision,) = rounded(model, "float16", data(model, 4))
    assert decision.why == "its largest weight, 7e+04, is above 65504, float16's largest"
    assert small.weights["fc.weight"].dtype == np.float32


def test_a_weight_that_bfloat16_would_round_to_infinity_stays():
    model = dense(np.array([[1.0, 3.4e38]], np.float32))
    _, (decision,) = rounded(model)
    assert "above 3.3895e+38, bfloat16's largest" in decision.why


def test_a_layer_whose_input_overflows_float16_stays_and_the_one_before_does_not():
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    with torch.no_grad():
        net.a.weight.fill_(100.0)
    model = imported(net, (1, 4))
    samples = Dataset(inputs=(np.full((3, 4), 250.0, np.float32),))
    small, (first, second) = rounded(model, "float16", samples)
    assert isinstance(first, SixteenBitLayer)
    assert second.describe().startswith("b: kept, its input reaches 1e+05, above 65504")
    assert np.isfinite(evaluate(small, samples)[0]).all()


def test_a_network_input_that_overflows_float16_counts_too():
    model = dense(np.ones((2, 4), np.float32))
    _, (decision,) = rounded(model, "float16", Dataset(inputs=(np.full((2, 4), 1e5, np.float32),)))
    assert "its input reaches 1e+05" in decision.why
    samples = Dataset(inputs=(np.full((2, 4), 65504.0, np.float32),))
    assert isinstance(rounded(model, "float16", samples)[1][0], SixteenBitLayer)


def test_weights_that_vanish_in_float16_stay():
    model = dense(np.full((2, 4), 3e-8, np.float32))
    _, (decision,) = rounded(model, "float16", data(model, 4))
    assert decision.why == "its weights are so small that float16 changes them by 98.7%"
    assert isinstance(rounded(model)[1][0], SixteenBitLayer)


def test_all_zero_weights_give_the_bias():
    model = dense(np.zeros((4, 8), np.float32), np.arange(4, dtype=np.float32))
    small, (decision,) = rounded(model)
    assert decision.weight_error_ratio == 0
    assert (evaluate(small, data(model, 3))[0] == np.arange(4)).all()


def test_an_outlier_in_the_data_costs_the_others_nothing():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 16)), (1, 64))
    samples = data(model, 20)
    samples.inputs[0][17, 5] = 1e4
    small, _ = rounded(model, "float16", samples)
    assert error_ratio(model, small, data(model, 32, seed=1)) < 1e-3


def test_rounding_is_to_nearest_ties_to_even():
    values = np.array([[1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20]], np.float32)
    small, _ = rounded(dense(values))
    assert small.weights["fc.weight"].tolist() == [[1.0, 1 + 2**-6, 1 + 2**-7]]


def test_float16_without_data_says_what_to_give():
    with pytest.raises(PassError, match=r"float16 needs calibration data.*give a data set"):
        SixteenBit(dtype="float16").plan(known(SmallCnn), None)
    assert not SixteenBit().needs_data
    assert SixteenBit(dtype="float16").needs_data


def test_nan_in_the_data_is_refused():
    model = dense(np.ones((2, 4), np.float32))
    samples = Dataset(inputs=(np.full((2, 4), np.nan, np.float32),))
    with pytest.raises(DataError, match="holds NaN"):
        SixteenBit(dtype="float16").plan(model, samples)


def test_nan_in_a_weight_is_refused():
    with pytest.raises(PassError, match="weight of fc holds NaN or infinity"):
        SixteenBit().plan(dense(np.array([[1.0, np.nan]], np.float32)), None)


def test_another_type_is_refused():
    with pytest.raises(PassError, match="'float8'; choose one of bfloat16, float16"):
        SixteenBit(dtype="float8")


@pytest.mark.parametrize("later", [SixteenBit(), Quantize(), Prune(keep_ratio=0.5)])
def test_a_rounded_network_is_rounded_no_more(later):
    model = known(SmallCnn)
    small, _ = rounded(model)
    with pytest.raises(PassError, match="is rounded to bfloat16 already"):
        run(small, (later,), data(model, 4))


def test_a_quantized_network_is_not_rounded():
    model = known(SmallCnn)
    small = run(model, (Quantize(),), data(model, 4)).model
    with pytest.raises(PassError, match="is quantized already"):
        SixteenBit().plan(small, None)


def test_it_comes_after_factorizing_and_pruning():
    model = known(SmallCnn)
    passes = (Prune(keep_ratio=0.5), Factorize(max_error_ratio=0.3), SixteenBit())
    small = run(model, passes, data(model, 16)).model
    assert any(weight.dtype == BF16 for weight in small.weights.values())


def test_the_input_is_untouched():
    model = known(SmallResNet)
    before = fingerprint(model)
    rounded(model)
    rounded(model, "float16", data(model, 4))
    assert fingerprint(model) == before
