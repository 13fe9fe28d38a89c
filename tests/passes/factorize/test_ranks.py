"""Ranks are chosen by error, energy, VBMF or a cost, and a timer may keep a layer whole."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from adaspring.errors import PassError
from adaspring.ir.layers import layers
from adaspring.ir.pieces.extract import extract_layer
from adaspring.passes import ByCost, ByEnergy, ByError, ByVbmf, Factorize, Kept, run
from adaspring.passes.factorize.factorize import Split
from adaspring.passes.factorize.forms import ALL_FORMS
from adaspring.passes.factorize.vbmf import vbmf_rank
from adaspring.reference.executor import evaluate, observe

from ...support.networks import SmallCnn
from ...support.passes import Small, data, fingerprint, imported, known, shapes


def dense(weight):
    net = Small(lambda self, x: torch.relu(self.fc(x)), fc=nn.Linear(*weight.shape[::-1]))
    with torch.no_grad():
        net.fc.weight.copy_(torch.from_numpy(weight))
    return imported(net, (1, weight.shape[1]))


def noisy(rows, columns, rank, noise, seed=0):
    random = np.random.default_rng(seed)
    clean = random.normal(size=(rows, rank)) @ random.normal(size=(rank, columns))
    return clean / np.sqrt(rank) + noise * random.normal(size=(rows, columns))


def planned(weight, rank, **more):
    (decision,) = Factorize(rank=rank, **more).plan(dense(weight), None)
    return decision


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(40, 90),
    columns=st.integers(40, 120),
    rank=st.integers(1, 8),
    noise=st.sampled_from([1e-9, 1e-3, 0.1, 0.3]),
    seed=st.integers(0, 99),
)
def test_vbmf_recovers_the_rank_of_a_noisy_matrix(rows, columns, rank, noise, seed):
    matrix = noisy(rows, columns, rank, noise, seed)
    assert vbmf_rank(matrix) == vbmf_rank(matrix.T) == vbmf_rank(1e4 * matrix) == rank


def test_vbmf_tells_the_least_noise_from_rounding():
    # noise of nearly square matrices has singular values down to nothing
    assert vbmf_rank(noisy(69, 71, 8, 1e-9, seed=97)) == 8
    assert vbmf_rank(noisy(47, 47, 8, 1e-11, seed=59)) == 8
    assert vbmf_rank(noisy(40, 50, 30, 0.0)) == 30


def test_vbmf_finds_nothing_in_noise_and_the_rank_itself_without_any():
    assert vbmf_rank(np.random.default_rng(0).normal(size=(60, 90))) == 0
    assert vbmf_rank(np.zeros((5, 7))) == 0
    assert vbmf_rank(noisy(50, 40, 7, 0.0)) == 7
    assert vbmf_rank(np.ones((3, 4))) == 1


def test_vbmf_lets_go_of_what_drowns_in_noise():
    found = [vbmf_rank(noisy(60, 80, 10, noise)) for noise in (0.1, 1.0, 2.0, 4.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 10
    assert found[-1] < 10


def test_by_vbmf_splits_at_the_clean_rank():
    decision = planned(noisy(64, 80, 5, 0.1), ByVbmf(), multiple_of=1)
    assert decision.ranks == (5,)
    assert planned(noisy(64, 80, 5, 0.1), ByVbmf()).ranks == (8,)


def test_by_vbmf_says_where_it_knows_no_rank():
    noise = np.random.default_rng(0).normal(size=(40, 40))
    assert planned(noise, ByVbmf()).why == "VBMF finds only noise in its weight"
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(16, 16, 3))
    model, rule = imported(net, (1, 16, 8, 8)), ByVbmf()
    (decision,) = Factorize(rank=rule, forms=ALL_FORMS).plan(model, None)
    assert isinstance(decision, Kept)
    for form in ("cp", "bottleneck", "separable"):
        assert (
            f"{form}: VBMF gives the rank of a matrix, and this form factors none" in decision.why
        )


def test_by_energy_keeps_that_share_of_the_power():
    weight = noisy(48, 64, 12, 0.2)
    decision = planned(weight, ByEnergy(0.9), multiple_of=1)
    power = np.square(np.linalg.svd(weight, compute_uv=False))
    assert power[: decision.ranks[0]].sum() >= 0.9 * power.sum()
    assert power[: decision.ranks[0] - 1].sum() < 0.9 * power.sum()


def test_by_cost_takes_the_least_and_keeps_what_costs_more_than_the_whole():
    weight = noisy(64, 64, 8, 0.02)

    def cost(split):
        return split.macs_count_after / split.macs_count_before + 2 * split.error_ratio

    assert planned(weight, ByCost(cost)).ranks == (8,)
    kept = planned(weight, ByCost(lambda split: 1.5))
    assert isinstance(kept, Kept)
    assert "costs 1.5 times the whole layer" in kept.why
    with pytest.raises(PassError, match="is NaN; give a number"):
        planned(weight, ByCost(lambda split: float("nan")))


def test_an_error_is_short_for_the_rule():
    short, long = Factorize(max_error_ratio=0.1), Factorize(rank=ByError(0.1))
    assert short == long
    assert hash(short) == hash(long)
    assert "ByError(max_error_ratio=0.1)" in repr(short)


def test_senseless_settings_are_refused():
    for wrong in ({}, {"max_error_ratio": 0.1, "rank": ByVbmf()}):
        with pytest.raises(PassError, match="not both or neither"):
            Factorize(**wrong)
    with pytest.raises(PassError, match="forms is empty"):
        Factorize(max_error_ratio=0.1, forms=())
    for ratio in (0.0, 1.0, float("nan")):
        with pytest.raises(PassError, match=r"energy_ratio is .* between 0 and 1"):
            ByEnergy(ratio)


def test_a_layer_alone_gives_what_it_gives_in_the_network():
    model = known(SmallCnn)
    samples = data(model, 3)
    for layer in layers(model):
        small = extract_layer(model, layer)
        relax.analysis.well_formed(small.module)
        seen = observe(model, samples, [layer.input.name, layer.output.name])
        read = seen[layer.input.name].reshape(-1, *layer.input_shape[1:])
        given = evaluate(small, type(samples)(inputs=(read,)))[0]
        np.testing.assert_allclose(
            given, seen[layer.output.name].reshape(given.shape), rtol=1e-4, atol=1e-4
        )
        assert list(shapes(small)) == [layer.name]


def timed(times_ms, forms=ALL_FORMS):
    """Factorize a low-rank convolution with a timer that answers by what it is given."""
    random = np.random.default_rng(0)
    net = Small(lambda self, x: self.c(x), c=nn.Conv2d(16, 16, 3, padding=1))
    factors = (
        random.normal(size=(16, 2)),
        random.normal(size=(2, 3, 3)),
        random.normal(size=(2, 16)),
    )
    with torch.no_grad():
        net.c.weight.copy_(torch.from_numpy(np.einsum("or,ryx,ri->oiyx", *factors)))
    model, asked = imported(net, (1, 16, 8, 8)), []

    def timer(models):
        asked.append([list(shapes(one)) for one in models])
        return times_ms(models)

    before = fingerprint(model)
    passes = (Factorize(max_error_ratio=0.1, multiple_of=2, forms=forms, timer=timer),)
    result = run(model, passes, None)
    assert fingerprint(model) == before
    return result.steps[0].decisions[0], asked


def test_the_fastest_form_is_taken_whatever_its_macs():
    def by_layers(models):  # every layer takes as long: fewest parts win
        return [10.0, *(len(shapes(one)) for one in models[1:])]

    decision, asked = timed(by_layers)
    assert isinstance(decision, Split)
    assert len(decision.parts) == min(len(names) for names in asked[0][1:])
    assert (decision.whole_ms, decision.parts_ms) == (10.0, len(decision.parts))
    assert "10 -> 2 ms for the layer alone" in decision.describe()
    assert asked[0][0] == ["c"]


@pytest.mark.parametrize(("parts_ms", "split"), [(0.96, False), (0.94, True), (2.0, False)])
def test_a_layer_is_kept_where_its_parts_gain_less_than_a_twentieth(parts_ms, split):
    decision, _ = timed(lambda models: [1.0] + [parts_ms] * (len(models) - 1))
    assert isinstance(decision, Split if split else Kept)
    if not split:
        assert f"takes {parts_ms:.4g} ms, the whole layer 1 ms" in decision.why


@pytest.mark.parametrize("answer", [[1.0], [float("nan")] * 9, [0.0] * 9])
def test_a_timer_that_gives_no_times_is_refused(answer):
    with pytest.raises(PassError, match="give milliseconds of each"):
        timed(lambda models: answer)


def test_a_timer_is_not_part_of_the_settings():
    plain = Factorize(max_error_ratio=0.1)
    with_timer = dataclasses.replace(plain, timer=lambda models: [1.0] * len(models))
    assert with_timer == plain
    assert repr(with_timer) == repr(plain)
