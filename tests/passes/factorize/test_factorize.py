"""Factorizing splits layers that are nearly low-rank, and leaves the others alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import PassError
from adaspring.ir.layers import layers, macs_count
from adaspring.passes.decision import Kept
from adaspring.passes.factorize.factorize import Factorize, Split
from adaspring.passes.factorize.forms.base import Problem
from adaspring.passes.factorize.forms.matrix import Tucker
from adaspring.passes.refit import Refit
from adaspring.reference.executor import observe

from ...support.networks import MobileNetStyle, SmallCnn, SmallResNet
from ...support.passes import Small, data, error_ratio, fingerprint, imported, known, shapes

pytestmark = pytest.mark.slow


def low_rank_dense(rank, k=32, n=24, seed=0):
    random = np.random.default_rng(seed)
    weight = random.normal(size=(n, rank)) @ random.normal(size=(rank, k))
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(k, n))
    with torch.no_grad():
        net.fc.weight.copy_(torch.from_numpy(weight))
    return imported(net, (1, k))


def low_rank_conv(inner, outer, **more):
    """A 3×3 convolution, 24 to 32 channels, whose Tucker-2 ranks are known."""
    random = np.random.default_rng(0)
    core = random.normal(size=(outer, inner, 3, 3))
    a, b = random.normal(size=(inner, 24)), random.normal(size=(32, outer))
    weight = np.einsum("oq,qpyx,pi->oiyx", b, core, a)
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(24, 32, 3, **more))
    with torch.no_grad():
        net.c.weight.copy_(torch.from_numpy(weight))
    return imported(net, (1, 24, 9, 10))


def factorized(model, max_error_ratio, calibration=None, multiple_of=8):
    factorize = Factorize(max_error_ratio=max_error_ratio, multiple_of=multiple_of)
    decisions = factorize.plan(model, calibration)
    small = factorize.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    return small, decisions


def test_a_low_rank_dense_layer_splits_in_two():
    model = low_rank_dense(rank=5)
    small, (decision,) = factorized(model, 0.01)
    assert shapes(small) == {"fc.0": (8, 32), "fc.1": (24, 8)}
    assert list(small.weights) == ["fc.0.weight", "fc.1.weight", "fc.1.bias"]
    assert decision.ranks == (8,)
    assert decision.macs_count_after == macs_count(small) == 8 * (32 + 24)
    assert error_ratio(model, small, data(model)) < 1e-5


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 2, "padding": 1}, {"padding": (2, 0), "dilation": 2}],
    ids=["plain", "strided", "dilated"],
)
def test_a_low_rank_convolution_splits_in_three(settings):
    model = low_rank_conv(8, 16, **settings)
    small, (decision,) = factorized(model, 0.01)
    assert shapes(small) == {
        "c.0": (8, 24, 1, 1),
        "c.1": (16, 8, 3, 3),
        "c.2": (32, 16, 1, 1),
    }
    assert "c.2.bias" in small.weights
    assert decision.macs_count_after == macs_count(small)
    assert error_ratio(model, small, data(model)) < 1e-5
    assert [layer.bias for layer in layers(small)] == [None, None, "c.2.bias"]


def test_a_convolution_of_one_low_side_splits_in_two():
    outer, _ = factorized(low_rank_conv(24, 8), 0.01)
    inner, _ = factorized(low_rank_conv(8, 32), 0.01)
    assert shapes(outer) == {"c.0": (8, 24, 3, 3), "c.1": (32, 8, 1, 1)}
    assert shapes(inner) == {"c.0": (8, 24, 1, 1), "c.1": (32, 8, 3, 3)}


def test_ranks_beyond_what_the_inputs_span_carry_nothing_more():
    weight = np.random.default_rng(0).normal(size=(40, 3, 3, 3))
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(3, 40, 3, padding=1))
    (layer,) = layers(imported(net, (1, 3, 6, 6)))
    fit = Tucker().fitter(Problem(layer, weight, None))
    spanned = fit((1, 9))  # one input channel has 3 x 3 places
    for rank in (10, 39):
        inner, core, outer = fit((1, rank)).factors
        assert [inner.shape, core.shape, outer.shape] == [(1, 3), (rank, 1, 3, 3), (40, rank)]
        assert fit((1, rank)).error_ratio == pytest.approx(spanned.error_ratio)
        found = np.einsum("or,rpyx,pi->oiyx", outer, core, inner)
        error = np.linalg.norm(found - weight) / np.linalg.norm(weight)
        assert error == pytest.approx(spanned.error_ratio, rel=1e-6)


def test_a_narrow_convolution_after_pruning_is_split():
    model = known(SmallCnn)
    calibration = data(model, 64)
    small, decisions = factorized(model, 0.7, calibration, multiple_of=1)
    assert any(isinstance(decision, Split) for decision in decisions)
    assert error_ratio(model, small, data(model, 64)) < 1


def test_a_strided_pointwise_convolution_keeps_its_stride():
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(24, 32, 1, stride=2))
    with torch.no_grad():
        net.c.weight.copy_(net.c.weight[:, :1] * torch.linspace(1, 2, 24)[None, :, None, None])
    model = imported(net, (1, 24, 8, 8))
    small, _ = factorized(model, 0.01)
    assert [layer.strides for layer in layers(small)] == [(2, 2), (1, 1)]
    assert error_ratio(model, small, data(model)) < 1e-5


def test_a_full_rank_weight_is_left_alone():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(16, 8, bias=False))
    with torch.no_grad():
        net.fc.weight.copy_(torch.eye(8, 16))
    model = imported(net, (1, 16))
    small, (decision,) = factorized(model, 0.1)
    assert decision == Kept(layer="fc", why="rank 8 of 8 saves no MACs")
    assert shapes(small) == shapes(model)


def test_a_full_rank_convolution_is_left_alone():
    _, (decision,) = factorized(low_rank_conv(24, 32), 0.05)
    assert decision.describe() == "c: kept, full rank saves no MACs"


def test_the_error_promised_for_a_weight_is_the_weights():
    model = known(SmallCnn)
    _, decisions = factorized(model, 0.5)
    split = next(d for d in decisions if d.layer == "fc1")
    first, second = split.factors
    weight = model.weights["fc1.weight"].astype(np.float64)
    error = np.linalg.norm(weight - second.astype(np.float64) @ first) / np.linalg.norm(weight)
    singular = np.linalg.svd(weight, compute_uv=False)
    best = np.linalg.norm(singular[split.ranks[0] :]) / np.linalg.norm(singular)
    assert split.error_ratio == pytest.approx(error, rel=1e-3)
    assert error == pytest.approx(best, rel=1e-3)


def test_with_data_the_error_is_that_of_the_output():
    model = known(SmallResNet)
    samples = data(model, 64)
    factorize = Factorize(max_error_ratio=0.1)
    decisions = factorize.plan(model, samples)
    split = (
        next(d for d in decisions if isinstance(d, Split) and d.layer == "conv1")
        if any(d.layer == "conv1" and isinstance(d, Split) for d in decisions)
        else next(d for d in decisions if isinstance(d, Split))
    )
    alone = factorize.apply(model, [split])
    name = next(layer.output for layer in layers(model) if layer.name == split.layer).name
    last = f"{split.layer}.{len(split.factors) - 1}"
    new_name = next(layer.output for layer in layers(alone) if layer.name == last).name
    before = observe(model, samples, [name])[name].astype(np.float64)
    after = observe(alone, samples, [new_name])[new_name]
    over = (0, 1, 3, 4) if before.ndim == 5 else (0, 1)
    centred = before - before.mean(axis=over, keepdims=True)
    missing = before - after
    missing -= missing.mean(axis=over, keepdims=True)
    error = np.linalg.norm(missing) / np.linalg.norm(centred)
    assert split.error_ratio == pytest.approx(error, rel=0.1)
    assert split.error_ratio <= 0.1


def test_data_that_lives_in_few_directions_allows_a_low_rank():
    random = np.random.default_rng(0)
    basis = random.normal(size=(6, 64))
    model = imported(Small(lambda self, x: self.fc(x), fc=nn.Linear(64, 64)), (1, 64))
    samples = data(model, 80)
    narrow = type(samples)(inputs=((samples.inputs[0][:, :6] @ basis).astype(np.float32),))
    small, decisions = factorized(model, 0.01, narrow)
    assert isinstance(decisions[0], Split)
    assert decisions[0].ranks == (8,)
    assert error_ratio(model, small, narrow) < 0.01
    assert isinstance(factorized(model, 0.01)[1][0], Kept)


def test_refitting_after_the_split_brings_outputs_nearer():
    model = known(SmallResNet)
    samples, unseen = data(model, 64), data(model, 32, seed=1)
    factorize = Factorize(max_error_ratio=0.3)
    decisions = factorize.plan(model, samples)
    assert any(isinstance(d, Refit) for d in decisions)
    plain = factorize.apply(model, [d for d in decisions if isinstance(d, Split)])
    fitted = factorize.apply(model, decisions)
    assert error_ratio(model, fitted, unseen) < error_ratio(model, plain, unseen)


def test_layers_left_alone_say_why():
    model = known(MobileNetStyle)
    why = {d.layer: d.why for d in Factorize(max_error_ratio=0.01).plan(model, None)}
    assert why["blocks.0.depthwise.0"] == "depthwise convolutions have few weights already"
    assert "saves no MACs" in why["blocks.0.expand.0"]
    assert set(why) == {layer.name for layer in layers(model)}


def test_a_shared_weight_is_left_alone():
    net = Small(lambda self, x: self.fc(torch.relu(self.fc(x))), fc=nn.Linear(32, 32))
    decisions = Factorize(max_error_ratio=0.9).plan(imported(net, (1, 32)), None)
    assert {d.why for d in decisions} == {"its weight is shared"}


def test_an_all_zero_weight_is_left_alone():
    net = Small(lambda self, x: self.fc(x), fc=nn.Linear(32, 32))
    with torch.no_grad():
        net.fc.weight.zero_()
    (decision,) = Factorize(max_error_ratio=0.1).plan(imported(net, (1, 32)), None)
    assert decision == Kept(layer="fc", why="its weight is all zero")


def test_rank_one_is_possible():
    model = low_rank_dense(rank=1)
    small, (decision,) = factorized(model, 0.01, multiple_of=1)
    assert decision.ranks == (1,)
    assert error_ratio(model, small, data(model)) < 1e-5


def test_a_layer_whose_input_never_varies_is_left_alone():
    model = low_rank_dense(rank=2)
    samples = type(data(model))(inputs=(np.full((16, 32), 3.0, np.float32),))
    _, (decision,) = factorized(model, 0.1, samples)
    assert decision.why == "its input never varies in the calibration data"


def test_the_input_is_untouched():
    model = known(SmallResNet)
    before = fingerprint(model)
    factorized(model, 0.3, data(model, 8))
    assert fingerprint(model) == before


@pytest.mark.parametrize("ratio", [0.0, 1.0, float("nan")])
def test_a_senseless_error_is_refused(ratio):
    with pytest.raises(PassError, match="between 0 and 1"):
        Factorize(max_error_ratio=ratio)


def test_a_weight_with_nan_is_refused():
    model = low_rank_dense(rank=2)
    broken = model.weights["fc.weight"].copy()
    broken[0, 0] = np.nan
    model = model.evolved(model.module, {**model.weights, "fc.weight": broken})
    with pytest.raises(PassError, match="weight of fc holds NaN"):
        Factorize(max_error_ratio=0.1).plan(model, None)


@settings(max_examples=12, deadline=None)
@given(
    k=st.integers(2, 40),
    n=st.integers(2, 40),
    max_error_ratio=st.floats(0.05, 0.9),
    seed=st.integers(0, 99),
)
def test_any_dense_shape_keeps_the_error_it_promises(k, n, max_error_ratio, seed):
    model = low_rank_dense(rank=min(k, n), k=k, n=n, seed=seed)
    factorize = Factorize(max_error_ratio=max_error_ratio, multiple_of=4)
    (decision,) = factorize.plan(model, None)
    small = factorize.apply(model, (decision,))
    if isinstance(decision, Split):
        first, second = (factor.astype(np.float64) for factor in decision.factors)
        weight = model.weights["fc.weight"].astype(np.float64)
        error = np.linalg.norm(weight - second @ first) / np.linalg.norm(weight)
        assert error <= max_error_ratio + 1e-5
        assert macs_count(small) < macs_count(model)
    else:
        assert shapes(small) == shapes(model)
