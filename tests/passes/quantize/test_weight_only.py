"""Low-bit weights under float activations: their form in the IR, the numbers, what is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import DataError, PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph
from adaspring.ir.layers import layers, macs_count, weight_bytes
from adaspring.ir.quantized_layers import integer_layers, why_float
from adaspring.passes import Kept, MixedPrecision, Prune, Quantize, SixteenBit, WeightOnly, run
from adaspring.passes.quantize.weight_only import LowBitWeight
from adaspring.reference.executor import evaluate

from ...support.models import dense, model_of
from ...support.networks import ALL, Mlp, MobileNetStyle, SmallCnn, SmallResNet, TinyEncoder
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known

SETTINGS = [
    WeightOnly(),
    WeightOnly(group_size=16),
    WeightOnly(bits=4),
    WeightOnly(bits=4, group_size=32),
]


def narrowed(model, setting=None, calibration=None):
    setting = setting or WeightOnly()
    decisions = setting.plan(model, calibration)
    small = setting.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    return small, decisions


def operators(model):
    found = [value.op.name.removeprefix("relax.") for _, value in Graph.of(model).bindings]
    return [name for name in found if name not in ("matmul", "nn.conv2d", "add", "permute_dims")]


def test_eight_bits_before_and_after():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(6, 4)), (1, 6))
    small, (decision,) = narrowed(model)
    assert operators(small) == ["dequantize"]
    stored = {name: (array.dtype.name, array.shape) for name, array in small.weights.items()}
    assert stored == {
        "fc.weight": ("int8", (4, 6)),
        "fc.weight_scale": ("float32", (4,)),
        "fc.bias": ("float32", (4,)),
    }
    (layer,) = layers(small)
    assert (layer.quantized, layer.stored.by_rows, layer.bias) == (True, False, "fc.bias")
    assert integer_layers(small) == ()
    assert why_float(Graph.of(small), layer) == "its input is in floats"
    assert decision.describe().startswith("fc: int8 weights by nearest, a scale for an output")
    assert decision.describe().endswith("; 96 -> 40 bytes")


def test_four_bits_in_groups_before_and_after():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(20, 4)), (1, 20))
    small, (decision,) = narrowed(model, WeightOnly(bits=4, group_size=8))
    unpacking = ["bitwise_and", "right_shift", "concat", "astype", "subtract"]
    assert operators(small) == [*unpacking, "dequantize", "reshape", "strided_slice"]
    assert small.weights["fc.weight"].shape == (4 * 3, 4)
    assert small.weights["fc.weight"].dtype == np.uint8
    assert small.weights["fc.weight_scale"].shape == (4 * 3,)
    (layer,) = layers(small)
    assert (layer.name, layer.stored.by_rows, layer.weight_shape) == ("fc", True, (4, 20))
    assert layer.macs_count == macs_count(model)
    assert "a scale for 8 features" in decision.describe()


def expected(weight, bits, group_size):
    """Every output's groups, each within half a step of what they were; in float64."""
    outputs, features = weight.shape
    size = min(group_size or features, features)
    result, steps = np.empty((outputs, features)), np.empty((outputs, features))
    for o in range(outputs):
        for start in range(0, features, size):
            group = weight[o, start : start + size].astype(np.float64)
            steps[o, start : start + size] = np.abs(group).max() / (2 ** (bits - 1) - 1)
            result[o, start : start + size] = group
    return result, steps


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 9), st.integers(8, 45)),
    bits=st.sampled_from([4, 8]),
    group_size=st.sampled_from([None, 2, 8, 16, 64]),
    transposed=st.booleans(),
)
def test_a_dense_layer_multiplies_quantized_values_with_scales(
    seed, shape, bits, group_size, transposed
):
    random = np.random.default_rng(seed)
    weight = random.standard_normal(shape).astype(np.float32)
    x = random.standard_normal((3, shape[1])).astype(np.float32)
    stored = weight if transposed else np.ascontiguousarray(weight.T)
    flip = relax.op.permute_dims if transposed else (lambda w: w)
    model = model_of(
        [relax.Var("x", relax.TensorType((1, shape[1]), "float32"))],
        {"fc.weight": stored},
        lambda x, w: relax.op.matmul(x, flip(w)),
    )
    small, (decision,) = narrowed(model, WeightOnly(bits=bits, group_size=group_size))
    if isinstance(decision, Kept):
        assert "saves nothing" in decision.why
        return
    (found,) = evaluate(small, Dataset(inputs=(x,)))
    eye = Dataset(inputs=(np.eye(shape[1], dtype=np.float32),))
    real = evaluate(small, eye)[0].astype(np.float64).T
    np.testing.assert_allclose(found, x @ real.T, rtol=1e-4, atol=1e-4)
    wanted, steps = expected(weight, bits, group_size)
    # Ranges are searched: what is clipped may be further off, the whole may not be worse.
    levels = 2 ** (bits - 1) - 1
    whole = np.rint(wanted / steps).clip(-levels, levels) * steps - wanted
    assert np.square(real - wanted).sum() <= np.square(whole).sum() * (1 + 1e-4) + 1e-9
    assert (np.abs(real) <= steps * levels * (1 + 1e-5)).all()
    lost = np.linalg.norm(real - wanted) / np.linalg.norm(wanted)
    np.testing.assert_allclose(decision.weight_error_ratio, lost, rtol=1e-3)


@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_network_keeps_its_layers_and_gets_smaller(network, setting):
    model = known(network)
    small, decisions = narrowed(model, setting)
    chosen = [d for d in decisions if isinstance(d, LowBitWeight)]
    saved = sum(d.bytes_before - d.bytes_after for d in chosen)
    assert chosen
    assert weight_bytes(small) == weight_bytes(model) - saved
    kept = [(layer.name, layer.kind, layer.bias, layer.macs_count) for layer in layers(model)]
    assert [(each.name, each.kind, each.bias, each.macs_count) for each in layers(small)] == kept
    bound = 0.02 if setting.bits == 8 else 0.4
    assert error_ratio(model, small, data(model, 12, seed=1)) < bound


def test_gptq_loses_less_than_nearest_on_what_it_has_not_seen():
    model = known(TinyEncoder)
    grid = {"bits": 4, "group_size": 32}
    near, _ = narrowed(model, WeightOnly(**grid))
    fitted, decisions = narrowed(model, WeightOnly(**grid, rounding="gptq"), data(model, 64))
    unseen = data(model, 48, seed=5)
    assert error_ratio(model, fitted, unseen) < 0.8 * error_ratio(model, near, unseen)
    assert all("squared output error" in d.describe() for d in decisions)


def test_gptq_measures_each_layer_behind_those_before():
    model = known(Mlp)
    small, decisions = narrowed(model, WeightOnly(bits=4, rounding="gptq"), data(model, 64))
    given_out, wanted = (evaluate(m, data(model, 64))[0].astype(np.float64) for m in (small, model))
    lost = np.square(given_out - wanted).mean(axis=0).sum() / wanted.var(axis=0).sum()
    np.testing.assert_allclose(decisions[-1].output_error_ratio, lost, rtol=1e-3)


def test_one_scale_for_a_group_contains_an_outlier():
    weight = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    weight[1, 3] = 1e4
    rest = np.ones((4, 64), bool)
    rest[1, :16] = False
    for bits in (4, 8):
        small, _ = narrowed(dense(weight), WeightOnly(bits=bits, group_size=16))
        eye = Dataset(inputs=(np.eye(64, dtype=np.float32),))
        real = evaluate(small, eye)[0].T
        assert abs(real[1, 3] / 1e4 - 1) < 1e-3
        assert np.abs(real - weight)[rest].max() < 0.25


def test_activations_of_any_size_cost_nothing():
    model = known(Mlp)
    samples = data(model, 20)
    samples.inputs[0][7, 5] = 1e4
    small, _ = narrowed(model)
    assert error_ratio(model, small, samples) < 0.02


def test_constant_activations_are_rounded_for():
    model = dense(np.random.default_rng(1).standard_normal((6, 48)).astype(np.float32))
    samples = Dataset(inputs=(np.full((16, 48), 0.5, np.float32),))
    near, _ = narrowed(model, WeightOnly(bits=4))
    small, _ = narrowed(model, WeightOnly(bits=4, rounding="gptq"), samples)
    assert error_ratio(model, small, samples) < 0.5 * error_ratio(model, near, samples)


@pytest.mark.parametrize(
    ("weight", "setting", "why"),
    [
        (np.zeros((8, 8)), WeightOnly(), "its weights are all zero"),
        (np.full((8, 8), 1e-42), WeightOnly(), "its weights are so small that all would become"),
        (
            np.ones((8, 1)),
            WeightOnly(),
            "saves nothing: quantized values and scales would be 40 bytes",
        ),
        (np.ones((8, 2)), WeightOnly(bits=4, group_size=2), None),
        (np.ones((1, 1)), WeightOnly(bits=4), "saves nothing"),
    ],
)
def test_a_layer_left_alone_says_why(weight, setting, why):
    model = dense(weight.astype(np.float32))
    small, (decision,) = narrowed(model, setting)
    if why is None:
        assert isinstance(decision, LowBitWeight)
        return
    assert isinstance(decision, Kept)
    assert decision.why.startswith(why)
    assert fingerprint(small) == fingerprint(model)


def test_depthwise_and_grouped_convolutions_stay():
    _, decisions = narrowed(known(MobileNetStyle))
    kept = {d.layer: d.why for d in decisions if isinstance(d, Kept)}
    depthwise = [layer.name for layer in layers(known(MobileNetStyle)) if layer.kind == "depthwise"]
    assert kept == dict.fromkeys(depthwise, "a depthwise convolution has few weights")


def test_a_weight_that_something_else_reads_stays():
    model = model_of(
        [relax.Var("x", relax.TensorType((2, 32), "float32"))],
        {"fc.weight": np.ones((32, 32), np.float32)},
        lambda x, w: relax.op.add(
            relax.op.matmul(x, relax.op.permute_dims(w)), relax.op.sum(w, axis=[1])
        ),
    )
    small, (decision,) = narrowed(model)
    assert decision.why == "its weight is read by sum, too"
    assert fingerprint(small) == fingerprint(model)


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_a_weight_of_two_layers_is_stored_once(rounding):
    net = Small(lambda self, x: self.a(self.b(self.a(x))), a=nn.Linear(32, 32), b=nn.Linear(32, 32))
    model = imported(net, (1, 32))
    small, decisions = narrowed(model, WeightOnly(rounding=rounding), data(model, 32))
    assert [d.layer for d in decisions] == ["a", "b"]
    assert [d.output_error_ratio is None for d in decisions] == [True, rounding == "nearest"]
    assert operators(small).count("dequantize") == 2
    assert error_ratio(model, small, data(model, 16, seed=2)) < 0.02


def test_nan_is_refused():
    with pytest.raises(PassError, match="weight of fc holds NaN or infinity"):
        WeightOnly().plan(dense(np.array([[1.0, np.nan]], np.float32)), None)
    samples = Dataset(inputs=(np.full((2, 64), np.nan, np.float32),))
    with pytest.raises(DataError, match="holds NaN"):
        WeightOnly(rounding="gptq").plan(known(Mlp), samples)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"bits": 3}, "weights of 3 bits; choose 4 or 8"),
        ({"rounding": "up"}, "no rounding named 'up'; choose from nearest, gptq"),
        ({"bits": 4, "group_size": 5}, "groups of 5 features in 4 bits; choose an even number"),
        ({"group_size": 0}, "groups of 0 features"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, why):
    with pytest.raises(PassError, match=why):
        WeightOnly(**wrong)


def test_gptq_without_data_says_what_to_give():
    with pytest.raises(PassError, match="GPTQ needs calibration data; give a data set, or round"):
        WeightOnly(rounding="gptq").plan(known(Mlp), None)
    assert not WeightOnly().needs_data


@pytest.mark.parametrize(
    "earlier", [Quantize(), SixteenBit(), WeightOnly(), SETTINGS[-1]], ids=repr
)
def test_a_rounded_network_is_refused(earlier):
    model = known(SmallCnn)
    small = run(model, (earlier,), data(model, 8)).model
    for late in (WeightOnly(), Prune(keep_ratio=0.5), SixteenBit(), Quantize()):
        with pytest.raises(PassError, match=r"is (quantized|rounded to bfloat16) already"):
            late.plan(small, data(model, 8))


LAST = (WeightOnly(bits=4), SixteenBit(), MixedPrecision(max_error_ratio=0.1), Quantize())


@pytest.mark.parametrize("last", LAST, ids=repr)
def test_whatever_rounds_weights_comes_last(last):
    with pytest.raises(PassError, match=r"after .*: it changes float weights.* last"):
        run(known(SmallCnn), (last, Prune(keep_ratio=0.5)), None)


def test_it_comes_after_pruning():
    model = known(SmallResNet)
    result = run(model, (Prune(keep_ratio=0.5), WeightOnly()), data(model, 16))
    assert weight_bytes(result.model) < 0.2 * weight_bytes(model)


def test_the_input_is_untouched():
    model = known(SmallResNet)
    before = fingerprint(model)
    for setting in (*SETTINGS, WeightOnly(bits=4, rounding="gptq")):
        narrowed(model, setting, data(model, 8))
    assert fingerprint(model) == before
