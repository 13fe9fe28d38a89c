"""Equalization matches the ranges of consecutive layers' weights, and changes no output."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adaspring.errors import PassError
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers
from adaspring.passes import Equalize, Kept, Prune, Quantize, run
from adaspring.passes.rescale.equalize import Equalized
from adaspring.reference.executor import Reference, evaluate
from adaspring.targets import host

from ...support.backends import run as built_and_run
from ...support.networks import ALL, MobileNetStyle, SmallResNet, TinyEncoder
from ...support.outputs import assert_close
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known


def two(activation=torch.relu, first=None, second=None):
    first, second = first or nn.Conv2d(3, 8, 3, padding=1), second or nn.Conv2d(8, 6, 3)
    return Small(lambda self, x: self.b(activation(self.a(x))), a=first, b=second)


def equalized(model):
    before = fingerprint(model)
    (step,) = run(model, (Equalize(),), None).steps
    assert fingerprint(model) == before
    return Equalize().apply(model, step.decisions), step.decisions


def unbalanced(network, spread=300.0):
    """Scale hidden channels apart, which a ReLU network does not notice."""
    random = np.random.default_rng(0)
    with torch.no_grad():
        scale = torch.from_numpy(np.exp(random.uniform(0, np.log(spread), 8)).astype(np.float32))
        network.a.weight.mul_(scale[:, None, None, None])
        network.a.bias.mul_(scale)
        network.b.weight.div_(scale[None, :, None, None])
    return network


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_network_computes_what_it_did(network):
    model = known(network)
    after, decisions = equalized(model)
    assert len(decisions) == len(layers(model))
    assert error_ratio(model, after, data(model, 16)) < 1e-5


def test_before_and_after():
    model = imported(two(), (1, 3, 8, 8))
    after, (decision, last) = equalized(model)
    assert isinstance(decision, Equalized)
    assert last == Kept(layer="b", why="its output is the network's")
    s = decision.scales
    w1, b1, w2 = (
        model.weights[name].astype(np.float64) for name in ("a.weight", "a.bias", "b.weight")
    )
    r1 = np.maximum(np.abs(w1).max(axis=(1, 2, 3)), np.abs(b1))
    r2 = np.abs(w2).max(axis=(0, 2, 3))
    np.testing.assert_allclose(s, np.sqrt(r1 / r2), rtol=1e-6)
    np.testing.assert_allclose(after.weights["a.weight"], w1 / s[:, None, None, None], rtol=1e-5)
    np.testing.assert_allclose(after.weights["a.bias"], b1 / s, rtol=1e-5)
    np.testing.assert_allclose(after.weights["b.weight"], w2 * s[None, :, None, None], rtol=1e-5)
    np.testing.assert_array_equal(after.weights["b.bias"], model.weights["b.bias"])
    assert "made up for in b" in decision.describe()


def test_a_chain_ends_with_equal_ranges_everywhere():
    model = known(MobileNetStyle)
    after, decisions = equalized(model)
    by_name = {layer.name: layer for layer in layers(after)}
    for decision in decisions:
        if isinstance(decision, Equalized) and "depthwise" in decision.layer:
            rows = np.abs(after.weights[f"{decision.layer}.weight"]).max(axis=(1, 2, 3))
            rows = np.maximum(rows, np.abs(after.weights[by_name[decision.layer].bias]))
            columns = np.abs(after.weights[f"{decision.into}.weight"]).max(axis=(0, 2, 3))
            np.testing.assert_allclose(rows, columns, rtol=0.01)


def test_relu6_gets_a_limit_for_each_channel():
    model = imported(two(F.relu6), (1, 3, 8, 8))
    after, decisions = equalized(model)
    assert "clipped at a limit for each" in decisions[0].describe()
    np.testing.assert_allclose(after.weights["a.limit"], 6 / decisions[0].scales, rtol=1e-6)
    assert not any(is_call(value, "relax.clip") for _, value in Graph.of(after).bindings)
    samples = data(model, 16)
    samples.inputs[0][:8] *= 20  # so that many values are clipped
    assert error_ratio(model, after, samples) < 1e-5


def test_a_limit_beyond_all_floats_stays_a_number():
    model = imported(two(lambda x: torch.clip(x, 0.0, 3e38)), (1, 3, 8, 8))
    after, (decision, _) = equalized(model)
    assert (3e38 / decision.scales).max() > np.finfo(np.float32).max
    assert np.isfinite(after.weights["a.limit"]).all()
    assert error_ratio(model, after, data(model, 8)) < 1e-5


@pytest.mark.parametrize(
    ("between", "second", "shape"),
    [
        (lambda x: torch.flatten(torch.relu(x), 1), nn.Linear(8 * 16, 5), (1, 3, 4, 4)),
        (lambda x: F.leaky_relu(x, 0.1).mean(dim=(2, 3)), nn.Linear(8, 5), (1, 3, 4, 4)),
        (lambda x: F.max_pool2d(x, 2, 2, 1), nn.Conv2d(8, 8, 3, groups=8), (1, 3, 8, 8)),
        (
            lambda x: F.relu6(F.adaptive_avg_pool2d(x, 4)),
            nn.Conv2d(8, 4, 1, groups=2),
            (1, 3, 8, 8),
        ),
        (lambda x: x.relu().permute(0, 2, 3, 1), nn.Linear(8, 5), (2, 3, 4, 4)),
    ],
    ids=["flatten", "mean", "depthwise", "grouped", "permuted"],
)
def test_scales_pass_pooling_reshapes_and_every_kind_of_layer(between, second, shape):
    model = imported(two(between, second=second), shape)
    after, (decision, _) = equalized(model)
    assert isinstance(decision, Equalized)
    assert np.abs(np.log(decision.scales)).max() > 0.05
    assert error_ratio(model, after, data(model, 16)) < 1e-5


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 5)),
    bias=st.booleans(),
    seed=st.integers(0, 9),
)
def test_dense_layers_of_any_size(sizes, bias, seed):
    a, b, c = sizes
    net = Small(
        lambda self, x: self.b(torch.relu(self.a(x))),
        seed=seed,
        a=nn.Linear(a, b, bias=bias),
        b=nn.Linear(b, c),
    )
    model = imported(net, (1, a))
    after, (decision, _) = equalized(model)
    assert decision.scales.shape == (b,)
    assert error_ratio(model, after, data(model, 16)) < 1e-5


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda self, x: self.b(F.gelu(self.a(x))), "a scale does not pass through gelu"),
        (lambda self, x: self.b(torch.tanh(self.a(x))), "a scale does not pass through tanh"),
        (lambda self, x: self.b(torch.clip(self.a(x), -1, 1)), "does not pass through clip"),
        (lambda self, x: self.b(torch.relu(self.a(x) + x)), "add joins its output with another"),
        (lambda self, x: self.b(y := torch.relu(self.a(x))) + y, "its output has 2 readers"),
        (lambda self, x: self.b(x) + self.a(x), "add joins its output with another value"),
        (lambda self, x: self.b(self.a(torch.relu(self.a(x)))), "its weight is shared"),
        (lambda self, x: self.b(F.relu6(F.relu6(self.a(x)))), "it is clipped twice"),
        (lambda self, x: self.b(self.a(x).mT.contiguous()), "its channels are mixed"),
    ],
)
def test_a_pair_that_is_left_alone_says_why(forward, why):
    model = imported(Small(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 6)), (1, 6, 6))
    after, decisions = equalized(model)
    first = next(decision for decision in decisions if decision.layer == "a")
    assert isinstance(first, Kept)
    assert why in first.describe()
    assert error_ratio(model, after, data(model, 8)) < 1e-5


def test_a_residual_branch_and_attention_are_left_alone():
    whys = {d.layer: d.describe() for d in equalized(known(SmallResNet))[1]}
    assert "add joins its output" in whys["layer1.0.conv2"]
    assert "made up for in layer1.0.conv2" in whys["layer1.0.conv1"]
    whys = {d.layer: d.describe() for d in equalized(known(TinyEncoder))[1]}
    assert all("kept" in why for why in whys.values())


def test_a_channel_that_is_all_zero_keeps_its_scale():
    net = two()
    with torch.no_grad():
        net.a.weight[2].zero_()
        net.a.bias[2] = 0
        net.b.weight[:, 5].zero_()
    model = imported(net, (1, 3, 8, 8))
    after, (decision, _) = equalized(model)
    assert decision.scales[2] == decision.scales[5] == 1.0
    assert error_ratio(model, after, data(model, 8)) < 1e-5


def test_a_weight_of_1e4_is_shared_out():
    net = two()
    with torch.no_grad():
        net.a.weight[3, 0, 0, 0] = 1e4
    model = imported(net, (1, 3, 8, 8))
    after, _ = equalized(model)
    assert np.abs(after.weights["a.weight"]).max() < 200
    assert error_ratio(model, after, data(model, 8)) < 1e-5


def test_a_weight_with_nan_and_a_quantized_network_are_refused():
    model = imported(two(), (1, 3, 8, 8))
    broken = model.weights["b.weight"].copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(PassError, match="the weight of b holds NaN or infinity"):
        Equalize().plan(model.evolved(model.module, {**model.weights, "b.weight": broken}), None)
    small = run(model, (Quantize(),), data(model, 8)).model
    with pytest.raises(PassError, match="is quantized already"):
        Equalize().plan(small, None)


def test_unbalanced_channels_quantize_well_after_it():
    model = imported(unbalanced(two()), (1, 3, 12, 12))
    samples, unseen = data(model, 48), data(model, 16, seed=1)
    plain = run(model, (Quantize(),), samples).model
    better = run(model, (Equalize(), Quantize()), samples).model
    assert error_ratio(model, better, unseen) < 0.7 * error_ratio(model, plain, unseen)
    assert error_ratio(model, better, unseen) < 0.03


def test_pruning_still_works_after_it():
    model = known(MobileNetStyle)
    result = run(model, (Equalize(), Prune(keep_ratio=0.6)), data(model, 32))
    assert np.isfinite(evaluate(result.model, data(model, 4))[0]).all()
    assert any("limit" in name for name in result.model.weights)


@pytest.mark.slow
def test_a_build_computes_the_same(tmp_path):
    model = known(MobileNetStyle)
    small = run(model, (Equalize(), Quantize()), data(model, 16)).model
    x = data(model, 1, seed=3).inputs[0]
    assert_close(built_and_run(small, host(), tmp_path, x), Reference(small).run(x), 0.02)
