"""Quantization-aware training: what is trained is the int8 network, bit for bit of its levels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaspring.ir.layers import layers
from adaspring.passes import Quantize
from adaspring.passes.quantize.weight_rounding import round_to_nearest
from adaspring.reference.executor import Reference, accuracy, evaluate
from adaspring.training import QuantizationAware, Settings, train
from adaspring.training.fake_quantize import quantize_straight_through

from ..support.networks import Mlp, MobileNetStyle, SmallCnn, TinyEncoder
from ..support.passes import data, fingerprint, known
from ..support.training import learned, part

SHORT = Settings(epochs=3, batch=50, learning_rate=1e-3, patience=3)


def planned(model, samples):
    return Quantize().plan(model, samples)


@pytest.mark.parametrize(
    "network", [SmallCnn, MobileNetStyle, Mlp, TinyEncoder], ids=lambda network: network.__name__
)
def test_before_training_the_forward_pass_is_the_quantized_network(network):
    model = known(network)
    samples = data(model, 8)
    decisions = planned(model, samples)
    quantized = Quantize().apply(model, decisions)
    inputs = [value[:, None] for value in samples.inputs]
    wanted = Reference(quantized).mapped(inputs)
    aware = QuantizationAware(model, decisions)
    given_ = aware(*map(torch.from_numpy, inputs))
    for ours, theirs in zip(given_, wanted, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-4, atol=1e-4)
    assert fingerprint(aware.quantized())[1] == fingerprint(quantized)[1]


def test_after_training_the_quantized_network_gives_what_was_trained():
    model = learned().model
    decisions = planned(model, part(0, 128))
    before = fingerprint(model)
    trained = train(model, part(0, 500), part(1000, 1200), SHORT, quantized=decisions)
    held = part(1000, 1200)
    outputs = evaluate(trained.network, held)[0]
    assert {str(a.dtype) for a in trained.network.weights.values()} == {"int8", "float32"}
    assert accuracy(outputs, held.labels) == trained.best.validation_metric
    wanted = torch.nn.functional.cross_entropy(
        torch.from_numpy(outputs), torch.from_numpy(held.labels)
    )
    assert trained.best.validation_loss == pytest.approx(float(wanted), rel=1e-4)
    aware = QuantizationAware(trained.model, ())
    assert set(aware.model.weights) == set(trained.model.weights)
    assert fingerprint(model) == before


def test_training_moves_the_quantized_values():
    model = learned().model
    decisions = planned(model, part(0, 128))
    aware = QuantizationAware(model, decisions)
    start = aware.quantized()
    loss = aware(torch.from_numpy(part(0, 16).inputs[0][:, None]))[0].square().mean()
    loss.backward()
    for layer in layers(model):
        gradient = dict(aware.named_parameters())[layer.weight].grad
        assert gradient.abs().sum() > 0
    with torch.no_grad():
        for parameter in aware.parameters():
            parameter -= 0.5 * parameter.grad
    moved = aware.quantized()
    name = layers(model)[0].weight
    assert (moved.weights[name] != start.weights[name]).any()


def test_the_gradient_passes_inside_the_range_and_stops_outside():
    model = learned().model
    aware = QuantizationAware(model, planned(model, part(0, 128)))
    x = torch.from_numpy(part(0, 4).inputs[0][:, None]).requires_grad_()
    aware(x)[0].sum().backward()
    inside = x.grad.clone()
    far = (x.detach() * 0 + 50.0).requires_grad_()
    aware(far)[0].sum().backward()
    assert inside.abs().sum() > 0
    assert far.grad.abs().sum() == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), power=st.integers(-30, 4), zeros=st.booleans())
def test_weights_are_rounded_as_the_pass_rounds_them(seed, power, zeros):
    layer = layers(known(SmallCnn))[0]
    random = np.random.default_rng(seed)
    weight = (random.normal(size=layer.weight_shape) * 10.0**power).astype(np.float32)
    weight[0] = 0.0 if zeros else weight[0]
    wanted = round_to_nearest(layer, weight)
    levels, scale = quantize_straight_through(layer, torch.from_numpy(weight))
    np.testing.assert_array_equal(levels.numpy(), wanted.values)
    np.testing.assert_array_equal(scale.numpy(), wanted.scales)


def test_corrected_biases_are_where_training_starts():
    model = learned().model
    decisions = planned(model, part(0, 128))
    aware = QuantizationAware(model, decisions)
    biases = {layer.name: layer.bias for layer in layers(model)}
    corrected = {biases[d.layer]: d.bias for d in decisions if d.bias is not None}
    assert corrected
    for name, array in corrected.items():
        np.testing.assert_array_equal(aware.model.weights[name], array)
