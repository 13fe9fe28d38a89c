"""On any network: pruning computes what the dense one does with those channels zeroed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from adaspring.ir.graph import Graph
from adaspring.ir.layers import layers
from adaspring.passes import Factorize, Prune, Quantize, run
from adaspring.passes.prune.prune import ChannelSlice
from adaspring.passes.refit import Refit
from adaspring.reference.executor import evaluate

from ..support.passes import data, fingerprint, zeroed
from ..support.random_networks import ON_IMAGES, ON_TOKENS, RECIPES, TO_TOKENS, build


def check_pruned(model, keep_ratio):
    """Prune without refitting; compare with the dense network whose channels are zeroed."""
    before = fingerprint(model)
    prune = Prune(keep_ratio=keep_ratio, multiple_of=1)
    decisions = prune.plan(model, None)
    small = prune.apply(model, decisions)
    relax.analysis.well_formed(small.module)
    samples = data(model, 4)
    wanted, given_ = evaluate(zeroed(model, decisions), samples), evaluate(small, samples)
    for y, z in zip(wanted, given_, strict=True):
        np.testing.assert_allclose(z, y, rtol=1e-3, atol=1e-4 * max(np.abs(y).max(), 1))
    assert fingerprint(model) == before
    return [d for d in decisions if isinstance(d, ChannelSlice)]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("step", ON_IMAGES, ids=lambda step: step.__name__.strip("_"))
def test_each_kind_of_step_on_an_image_prunes_rightly(step, number):
    assert check_pruned(build([(step, number)], (TO_TOKENS[1], 0), []), 0.5)


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("step", ON_TOKENS, ids=lambda step: step.__name__.strip("_"))
def test_each_kind_of_step_on_tokens_prunes_rightly(step, number):
    assert check_pruned(build([(ON_IMAGES[1], 0)], (TO_TOKENS[2], 0), [(step, number)]), 0.5)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(recipe=RECIPES, keep_ratio=st.sampled_from([0.2, 0.5, 0.8]))
def test_a_pruned_network_is_the_dense_one_with_those_channels_zeroed(recipe, keep_ratio):
    check_pruned(build(*recipe), keep_ratio)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(recipe=RECIPES)
def test_pruned_factorized_and_quantized_any_network_still_runs(recipe):
    model = build(*recipe)
    samples = data(model, 8)
    passes = (
        Prune(keep_ratio=0.6, multiple_of=1),
        Factorize(max_error_ratio=0.3, multiple_of=1),
        Quantize(),
    )
    small = run(model, passes, samples).model
    assert all(layer.quantized for layer in layers(small))
    for y, spec in zip(evaluate(small, samples), model.outputs, strict=True):
        assert np.isfinite(y).all()
        assert y.shape[1:] == spec.shape[1:]


def test_a_layer_that_reads_a_copy_of_a_variable_is_refitted():
    residual = next(step for step in ON_IMAGES if "residual" in step.__name__)
    model = build([(residual, 7), (residual, 7)], (TO_TOKENS[1], 0), [])  # 7: no activation, a copy
    assert any(isinstance(value, relax.Var) for _, value in Graph.of(model).bindings)
    decisions = Prune(keep_ratio=0.5, multiple_of=1).plan(model, data(model, 16))
    assert any(isinstance(d, Refit) for d in decisions)
