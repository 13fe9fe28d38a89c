"""Convolutions over one and three axes, and transposed ones, are compressed as others are."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import layers, macs_count
from adaspring.ir.quantized_layers import integer_layers
from adaspring.passes import Factorize, Kept, Prune, Quantize, SixteenBit, WeightOnly, run
from adaspring.passes.moments import grouped_weight, input_rows, layer_weight, output_rows
from adaspring.reference.execution import Execution
from adaspring.reference.executor import evaluate

from ..support.convolution_networks import NETWORKS, convolution_network
from ..support.passes import Small, data, error_ratio, imported, zeroed

KNOWN = {}


def model_of(name):
    if name not in KNOWN:
        network = convolution_network(name)
        KNOWN[name] = from_torch(network, (torch.zeros(network.shape),), name=name)
    return KNOWN[name]


def samples(model, count=24):
    return data(model, count * model.batch)


def reasons(made) -> dict[str, str]:
    return {d.layer: d.why for step in made.steps for d in step.decisions if isinstance(d, Kept)}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_is_the_dense_one_with_those_channels_zeroed(name):
    model = model_of(name)
    prune = Prune(keep_ratio=0.5)
    decisions = prune.plan(model, None)
    thin = prune.apply(model, decisions)
    assert macs_count(thin) < 0.65 * macs_count(model)
    given = samples(model, 2)
    pairs = zip(evaluate(thin, given), evaluate(zeroed(model, decisions), given), strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_computes_in_integers(name):
    model = model_of(name)
    made = run(model, (Quantize(),), samples(model))
    assert {layer.name for layer in integer_layers(made.model)} == {x.name for x in layers(model)}
    assert reasons(made) == {}
    assert error_ratio(model, made.model, samples(model)) < 0.03


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        (Quantize(rounding="gptq"), 0.03),
        (SixteenBit(dtype="bfloat16"), 0.01),
        (WeightOnly(bits=8), 0.01),
        (WeightOnly(bits=4, group_size=32, rounding="gptq"), 0.15),
    ],
    ids=["gptq", "bf16", "int8-weights", "int4-weights"],
)
@pytest.mark.parametrize("name", ["Tcn", "Sensor", "Video", "Vocoder"])
def test_rounding_changes_little(name, settings, bound):
    model = model_of(name)
    made = run(model, (settings,), samples(model))
    assert 0 < error_ratio(model, made.model, samples(model)) < bound


@pytest.mark.parametrize(
    ("name", "layer", "most"), [("Tcn", "blocks.1.a", 0.2), ("Video", "a", 0.6)]
)
def test_convolutions_over_one_and_three_axes_are_factorized(name, layer, most):
    model = model_of(name)
    made = run(model, (Factorize(max_error_ratio=most, multiple_of=4),), samples(model))
    assert macs_count(made.model) < 0.8 * macs_count(model)
    assert f"{layer}.0" in {each.name for each in layers(made.model)}
    assert 0 < error_ratio(model, made.model, samples(model)) < most


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, 2, 1, 2), (2, 4, 11)),
    "conv3d": (nn.Conv3d(4, 6, (2, 3, 1), (1, 2, 1), (1, 0, 0), groups=2), (2, 4, 4, 5, 3)),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 5, 3, 2, 1), (2, 4, 6)),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, 1, 2), (2, 4, 4, 3)),
    "transposed dilated": (nn.ConvTranspose2d(4, 6, 3, 1, 5, dilation=2), (1, 4, 9, 8)),
    "transposed 3d": (nn.ConvTranspose3d(4, 2, (2, 3, 1), (2, 1, 1), 1), (1, 4, 4, 3, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_windows_that_a_layer_reads_give_its_outputs(name):
    part, shape = LAYERS[name]
    model = imported(Small(lambda s, x: s.a(x), a=part), shape)
    (layer,) = layers(model)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    execution = Execution(model, [x])
    value = next(value for var, value in execution if var == layer.call)
    places = int(np.prod(layer.output_shape[2:]))
    at = np.tile(np.arange(places), (shape[0], 1))
    rows = torch.cat(list(input_rows(layer, x, at))).double()
    weight = torch.from_numpy(grouped_weight(layer, model.weights[layer.weight]))
    found = torch.einsum("pgf,gof->pgo", rows, weight).reshape(len(rows), -1)
    np.testing.assert_allclose(found, output_rows(layer, value, at), atol=1e-5)
    again = layer_weight(layer, weight.numpy())
    np.testing.assert_array_equal(again, model.weights[layer.weight])


GROUPED = Small(
    lambda s, x: s.c(torch.relu(s.b(torch.relu(s.a(x))))),
    a=nn.Conv2d(3, 16, 3),
    b=nn.ConvTranspose2d(16, 32, 2, 2, groups=2),
    c=nn.Conv2d(32, 3, 1),
)


def test_of_a_grouped_transposed_convolution_goes_the_same_channel_of_every_group():
    model = imported(GROUPED, (1, 3, 6, 6))
    thin = run(model, (Prune(keep_ratio=0.5, multiple_of=4),), None).model
    (layer,) = (layer for layer in layers(thin) if layer.name == "b")
    assert (layer.weight_shape, layer.groups) == ((8, 8, 2, 2), 2)


def test_a_grouped_transposed_convolution_stays_in_floats_and_says_why():
    model = imported(GROUPED, (1, 3, 6, 6))
    made = run(model, (Quantize(),), samples(model))
    assert list(reasons(made)) == ["b"]
    assert "no axis of the weight counts the outputs" in reasons(made)["b"]


def test_four_bits_do_not_fit_a_transposed_convolution_and_it_says_so():
    model = model_of("Vocoder")
    made = run(model, (WeightOnly(bits=4, group_size=32),), samples(model))
    assert {name for name in reasons(made) if name.startswith("up")} == {"up1", "up2"}
    assert "8 bits fit it" in reasons(made)["up1"]


def test_a_depthwise_transposed_convolution_loses_whole_channels():
    network = Small(
        lambda s, x: s.c(s.b(torch.relu(s.a(x)))),
        a=nn.Conv1d(3, 16, 3),
        b=nn.ConvTranspose1d(16, 16, 4, 2, 1, groups=16),
        c=nn.Conv1d(16, 3, 1),
    )
    model = imported(network, (1, 3, 12))
    prune = Prune(keep_ratio=0.5)
    decisions = prune.plan(model, None)
    thin = prune.apply(model, decisions)
    (layer,) = (layer for layer in layers(thin) if layer.name == "b")
    assert (layer.weight_shape, layer.groups) == ((8, 1, 4), 8)
    given = samples(model, 4)
    found, wanted = evaluate(thin, given), evaluate(zeroed(model, decisions), given)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-3, atol=1e-4)
