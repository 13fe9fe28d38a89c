"""Settings of Quantize: weights rounded by GPTQ, layers kept in floats, weights that are shared."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers
from adaspring.passes import Kept, run
from adaspring.passes.quantize.int8_layer import Integer
from adaspring.passes.quantize.static import Quantize
from adaspring.passes.quantize.weight_rounding import ROUNDINGS, round_to_nearest

from ...support.networks import Mlp, MobileNetStyle, SmallCnn, TinyEncoder
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known


def like_images(model, count, seed=0):
    """Mixtures of a few patterns of flat blocks: pixels tell of each other, as in photographs."""
    shape = model.inputs[0].shape[1:]
    coarse = np.random.default_rng(99).normal(size=(6, *[-(-size // 8) for size in shape]))
    patterns = np.kron(coarse, np.ones((1, *[8] * len(shape))))
    patterns = patterns[(slice(None), *map(slice, shape))]
    mix = np.random.default_rng(seed).normal(size=(count, 6))
    return Dataset(inputs=(np.tensordot(mix, patterns, axes=1).astype(np.float32),))


@pytest.mark.parametrize(
    "network", [MobileNetStyle, Mlp, TinyEncoder], ids=lambda network: network.__name__
)
def test_gptq_keeps_every_network_near(network):
    model = known(network)
    before = fingerprint(model)
    plain, fitted = (
        run(model, (Quantize(rounding=name),), data(model, 48)).model for name in ROUNDINGS
    )
    unseen = data(model, 32, seed=1)
    assert error_ratio(model, fitted, unseen) < 1.1 * error_ratio(model, plain, unseen)
    assert fingerprint(model) == before


@pytest.mark.parametrize("kind", ["dense", "conv2d", "depthwise"])
def test_gptq_rounds_weights_so_that_their_errors_cancel(kind):
    part, shape = {
        "dense": (nn.Linear(3 * 16 * 16, 24), (1, 3 * 16 * 16)),
        "conv2d": (nn.Conv2d(8, 16, 5), (1, 8, 16, 16)),
        "depthwise": (nn.Conv2d(8, 16, 5, groups=8), (1, 8, 16, 16)),
    }[kind]
    model = imported(Small(lambda self, x: self.part(x), part=part), shape)
    calibration, unseen = like_images(model, 64), like_images(model, 32, seed=1)
    errors = {}
    for name in ROUNDINGS:
        (decision,) = Quantize(rounding=name).plan(model, calibration)
        scales = decision.scales.reshape(-1, *[1] * (decision.values.ndim - 1))
        reals = (decision.values * scales).astype(np.float32)
        rounded = model.evolved(model.module, {**model.weights, "part.weight": reals})
        errors[name] = error_ratio(model, rounded, unseen)
    assert errors["gptq"] < 0.7 * errors["nearest"]


def test_gptq_moves_quantized_values_by_little_and_says_so():
    model = known(MobileNetStyle)
    decisions = Quantize(rounding="gptq").plan(model, like_images(model, 32))
    by_name = {layer.name: layer for layer in layers(model)}
    moved = 0
    for decision in decisions:
        layer = by_name[decision.layer]
        plain = round_to_nearest(layer, model.weights[layer.weight])
        assert decision.values.shape == layer.weight_shape
        assert decision.scales.shape == plain.scales.shape
        moved += int((decision.values != plain.values).sum())
        assert f"weight rounded by {decision.rounding}" in decision.describe()
    assert moved
    assert any(decision.rounding.startswith("gptq") for decision in decisions)


@pytest.mark.parametrize("part", [nn.Linear(6, 1), nn.Linear(1, 5)])
def test_a_layer_of_one_channel_is_rounded_by_gptq(part):
    model = imported(Small(lambda self, x: self.part(x), part=part), (1, part.in_features))
    samples = data(model, 32)
    small = run(model, (Quantize(rounding="gptq"),), samples).model
    assert error_ratio(model, small, samples) < 0.02


def test_constant_activations_and_zero_weights_are_exact_by_gptq():
    net = Small(lambda self, x: self.b(self.a(x)), a=nn.Linear(8, 4), b=nn.Linear(4, 2))
    with torch.no_grad():
        net.b.weight.zero_()
    model = imported(net, (1, 8))
    samples = Dataset(inputs=(np.full((8, 8), 1.5, np.float32),))
    small = run(model, (Quantize(rounding="gptq"),), samples).model
    assert error_ratio(model, small, samples) < 1e-5


def test_an_outlier_in_one_sample_leaves_the_others_right_by_gptq():
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 16)), (1, 64))
    samples = data(model, 100)
    samples.inputs[0][17, 5] = 1e4
    small = run(model, (Quantize(rounding="gptq"),), samples).model
    assert error_ratio(model, small, data(model, 32, seed=1)) < 0.1


def test_layers_to_keep_stay_in_floats():
    model = known(SmallCnn)
    quantize = Quantize(keep=("conv1", "fc2"))
    decisions = quantize.plan(model, data(model, 16))
    small = quantize.apply(model, decisions)
    assert {layer.name: layer.quantized for layer in layers(small)} == {
        "conv1": False,
        "conv2": True,
        "fc1": True,
        "fc2": False,
    }
    assert [d for d in decisions if isinstance(d, Kept)] == [
        Kept(layer="conv1", why="float, as asked for"),
        Kept(layer="fc2", why="float, as asked for"),
    ]
    for name in ("conv1.weight", "fc2.weight", "fc2.bias"):
        np.testing.assert_array_equal(small.weights[name], model.weights[name])


def test_keeping_every_layer_changes_nothing():
    model = known(SmallCnn)
    quantize = Quantize(keep=tuple(layer.name for layer in layers(model)))
    decisions = quantize.plan(model, data(model, 4))
    assert all(isinstance(decision, Kept) for decision in decisions)
    assert fingerprint(quantize.apply(model, decisions)) == fingerprint(model)


def test_a_name_that_no_layer_has_is_refused():
    model = known(SmallCnn)
    with pytest.raises(PassError, match="no layer named 'conv9' to keep; the network has conv1, "):
        Quantize(keep=("conv9",)).plan(model, data(model, 4))


def test_an_unknown_rounding_lists_the_choices():
    with pytest.raises(PassError, match="no rounding named 'up'; choose from nearest, gptq"):
        Quantize(rounding="up")


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_readers_of_one_weight_have_ranges_of_their_own(rounding):
    net = Small(lambda self, x: self.fc(torch.relu(self.fc(x)) * 50.0), fc=nn.Linear(12, 12))
    model = imported(net, (1, 12))
    quantize = Quantize(calibration="minmax", rounding=rounding)
    samples = data(model, 48)
    first, second = quantize.plan(model, samples)
    assert isinstance(first, Integer)
    assert first.layer == second.layer == "fc"
    assert second.input_range.scale > 5 * first.input_range.scale
    assert "squared output error not measured" in first.describe()
    small = quantize.apply(model, (first, second))
    assert error_ratio(model, small, samples) < 0.03


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_channel_of_1e4_in_every_sample_keeps_its_range(rounding):
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 16)), (1, 64))
    samples = data(model, 100)
    samples.inputs[0][:, 5] *= 1e4
    small = run(model, (Quantize(rounding=rounding),), samples).model
    assert error_ratio(model, small, samples) < 0.05
