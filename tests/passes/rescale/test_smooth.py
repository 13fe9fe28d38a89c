"""Smoothing moves outliers of activations into weights, and changes no output."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import adaspring
from adaspring.errors import PassError
from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.layers import layers
from adaspring.passes import Kept, Quantize, Smooth, run
from adaspring.passes.rescale.smooth import Smoothed
from adaspring.reference.executor import Reference, observe
from adaspring.targets import host

from ...support.backends import run as built_and_run
from ...support.networks import ALL, SmallCnn, TinyEncoder
from ...support.outputs import assert_close
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known


def alone(width=12, norm=None):
    return Small(
        lambda self, x: torch.tanh(self.a(y := self.n(x))) * self.b(y),
        n=norm or nn.LayerNorm(width),
        a=nn.Linear(width, 10),
        b=nn.Linear(width, 10),
    )


def residual(width=12):
    def forward(self, x):
        y = self.n(x)
        return y + self.b(torch.relu(self.a(y)))

    return Small(forward, n=nn.LayerNorm(width), a=nn.Linear(width, 20), b=nn.Linear(20, width))


def with_outlier(network, channel=3, factor=60.0):
    with torch.no_grad():
        network.n.weight[channel] *= factor
    return network


def smoothed(model, samples, strength=0.5):
    before = fingerprint(model)
    smooth = Smooth(strength=strength)
    decisions = smooth.plan(model, samples)
    after = run(model, (smooth,), samples).model
    assert fingerprint(model) == before
    return after, decisions


def test_scales_are_those_of_the_paper_but_for_a_common_factor():
    model = imported(alone(), (4, 12))
    samples = data(model, 32)
    _, (decision,) = smoothed(model, samples, 0.7)
    (norm,) = {layer.input.name for layer in layers(model)}
    x = np.abs(observe(model, samples, [norm])[norm]).reshape(-1, 12).max(axis=0)
    w = np.maximum(*(np.abs(model.weights[f"{name}.weight"]).max(axis=0) for name in "ab"))
    ratio = decision.scales / (x.astype(np.float64) ** 0.7 / w.astype(np.float64) ** 0.3)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert decision.readers == ("a", "b")


def test_a_norm_that_dense_layers_alone_read_takes_the_scale():
    model = imported(with_outlier(alone()), (4, 12))
    samples = data(model, 32)
    after, (decision,) = smoothed(model, samples)
    assert decision.absorbed == ("n.weight", "n.bias")
    assert "by n.weight and n.bias" in decision.describe()
    assert list(after.weights) == list(model.weights)
    for name in ("n.weight", "n.bias"):
        wanted = model.weights[name] / decision.scales
        np.testing.assert_allclose(after.weights[name], wanted, rtol=1e-5)
    for name in ("a.weight", "b.weight"):
        wanted = model.weights[name] * decision.scales
        np.testing.assert_allclose(after.weights[name], wanted, rtol=1e-5)
    assert error_ratio(model, after, samples) < 1e-5
    assert decision.outlier_after_ratio < decision.outlier_before_ratio / 3


def test_where_others_read_the_norm_a_multiplication_divides():
    model = imported(with_outlier(residual()), (4, 12))
    samples = data(model, 32)
    after, (decision, kept) = smoothed(model, samples)
    assert decision.absorbed == ()
    assert "by a multiplication" in decision.describe()
    assert kept == Kept(layer="b", why="its input is not a norm's")
    np.testing.assert_allclose(after.weights["a.smooth"], 1 / decision.scales, rtol=1e-6)
    np.testing.assert_array_equal(after.weights["n.weight"], model.weights["n.weight"])
    (first, _) = layers(after)
    assert is_call(Graph.of(after).producers[first.input], "relax.multiply")
    assert error_ratio(model, after, samples) < 1e-5


def test_a_norm_spelled_out_takes_the_scale_in_its_last_multiplication():
    model = imported(with_outlier(alone(norm=nn.RMSNorm(12))), (4, 12))
    samples = data(model, 32)
    after, (decision,) = smoothed(model, samples)
    assert decision.absorbed == ("n.weight",)
    assert error_ratio(model, after, samples) < 1e-5


def test_two_dense_layers_share_one_multiplication():
    def forward(self, x):
        y = self.n(x)
        return y + self.a(y) * self.b(y)

    parts = {"n": nn.LayerNorm(8), "a": nn.Linear(8, 8), "b": nn.Linear(8, 8)}
    model = imported(with_outlier(Small(forward, **parts)), (4, 8))
    samples = data(model, 16)
    after, (decision,) = smoothed(model, samples)
    assert decision.readers == ("a", "b")
    made = [v for _, v in Graph.of(after).bindings if is_call(v, "relax.multiply")]
    assert len(made) == 1 + sum(is_call(v, "relax.multiply") for _, v in Graph.of(model).bindings)
    assert error_ratio(model, after, samples) < 1e-5


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_every_network_computes_what_it_did(network):
    model = known(network)
    samples = data(model, 16)
    after, decisions = smoothed(model, samples)
    named = [n for d in decisions for n in (d.readers if isinstance(d, Smoothed) else (d.layer,))]
    assert sorted(named) == sorted(layer.name for layer in layers(model))
    assert error_ratio(model, after, samples) < 1e-5


def test_convolutions_and_layers_behind_no_norm_say_so():
    model = known(SmallCnn)
    whys = {d.layer: d.why for d in Smooth().plan(model, data(model, 4))}
    assert whys["conv1"] == "a convolution"
    assert whys["fc1"] == "its input is not a norm's"


def bert_with_outliers():
    path = Path(adaspring.__file__).parent / "benchmarks" / "networks" / "bert.py"
    spec = importlib.util.spec_from_file_location("bert", path)
    bert = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bert)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = bert.BertMini().eval()
        for layer in network.layers:
            layer.norm1.weight[7] *= 50
            layer.norm2.weight[9] *= 50
    return network


@pytest.mark.slow
def test_int8_errors_of_a_bert_with_outlier_channels_fall():
    model = imported(bert_with_outliers(), (1, 128, 256))
    samples, unseen = data(model, 4), data(model, 4, seed=1)
    plain = run(model, (Quantize(),), samples).model
    better = run(model, (Smooth(), Quantize()), samples).model
    assert error_ratio(model, better, unseen) < 0.8 * error_ratio(model, plain, unseen)


@settings(max_examples=6, deadline=None)
@given(
    width=st.integers(1, 9),
    strength=st.floats(0.05, 0.95),
    factor=st.sampled_from([0.0, 1e-3, 1.0, 1e4]),
    seed=st.integers(0, 9),
)
def test_any_width_strength_and_outlier(width, strength, factor, seed):
    net = Small(
        lambda self, x: self.a(self.n(x)), seed=seed, n=nn.LayerNorm(width), a=nn.Linear(width, 3)
    )
    model = imported(with_outlier(net, 0, factor), (2, width))
    samples = data(model, 8)
    after, (decision,) = smoothed(model, samples, strength)
    assert (decision.scales > 0).all()
    assert error_ratio(model, after, samples) < 1e-4


def test_zero_weights_constant_activations_and_an_outlier_in_one_sample_change_nothing():
    net = alone()
    with torch.no_grad():
        net.a.weight.zero_()
        net.b.weight[:, 4].zero_()
    model = imported(net, (4, 12))
    constant = Dataset(inputs=(np.full((8, 12), 2.0, np.float32),))
    outlier = data(model, 8)
    outlier.inputs[0][3, 5] = 1e4
    for samples in (constant, outlier):
        after, _ = smoothed(model, samples)
        assert error_ratio(model, after, data(model, 8, seed=1)) < 1e-5


@pytest.mark.parametrize("strength", [0.0, 1.0, -1.0, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(PassError, match="choose a value between 0 and 1"):
        Smooth(strength=strength)


def test_no_data_and_a_quantized_network_are_refused():
    model = known(TinyEncoder)
    with pytest.raises(PassError, match="needs calibration data; give a data set"):
        Smooth().plan(model, None)
    small = run(model, (Quantize(),), data(model, 8)).model
    with pytest.raises(PassError, match="is quantized already"):
        Smooth().plan(small, data(model, 8))


def test_a_build_computes_the_same(tmp_path):
    model = imported(with_outlier(residual()), (4, 12))
    small = run(model, (Smooth(), Quantize()), data(model, 64)).model
    x = data(model, 4, seed=3).inputs[0]
    assert_close(built_and_run(small, host(), tmp_path, x), Reference(small).run(x), 0.02)
