"""Every recipe on networks in which a pass easily goes wrong: right, or kept with a reason."""

import numpy as np
import pytest
from torch import nn

from adaspring.explore.recipes import ON_REQUEST, RECIPES, Recipe
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers
from adaspring.ir.model import sample_shape
from adaspring.passes import (
    DynamicQuantize,
    Equalize,
    Factorize,
    Kept,
    Prune,
    Quantize,
    SixteenBit,
    Smooth,
    WeightOnly,
    run,
)
from adaspring.passes.decision import by_call
from adaspring.reference.executor import evaluate

from ..support.passes import Small, error_ratio, imported, zeroed
from ..support.passes import data as samples_of
from ..support.uncommon_networks import UNCOMMON, uncommon

# What a recipe may change, of an output's norm; None where accuracy is lost by design.
BOUNDS = {"bf16": 0.03, "int8-weights": 0.05, "int8": 0.15, "int8-dynamic": 0.1}
# Pruned in steps of 16 channels these networks stay as they are: one such recipe shows it.
PIPELINES = (
    *(each for each in RECIPES[1:] if "pruned" not in each.name or each.name == "pruned-half"),
    *ON_REQUEST,
    Recipe(name="equalized", passes=(Equalize(),)),
    Recipe(name="smoothed", passes=(Smooth(), Quantize())),
    Recipe(
        name="finely",
        passes=(
            Prune(keep_ratio=0.6, multiple_of=1),
            Factorize(max_error_ratio=0.3, multiple_of=1),
            Quantize(),
        ),
    ),
)


def samples(model):
    random = np.random.default_rng(0)
    shapes = [(24, *sample_shape(spec, model.batch)) for spec in model.inputs]
    return Dataset(inputs=tuple(random.normal(size=s).astype(np.float32) for s in shapes))


@pytest.mark.slow
@pytest.mark.parametrize("name", UNCOMMON)
@pytest.mark.parametrize("recipe", PIPELINES, ids=lambda recipe: recipe.name)
def test_a_recipe_gives_a_sound_network(recipe, name):
    """`run` verifies each step's result."""
    model = uncommon(name)
    data = samples(model)
    made = run(model, recipe.passes, data)
    pairs = zip(evaluate(made.model, data), evaluate(model, data), strict=True)
    for found, wanted in pairs:
        assert found.shape == wanted.shape
        assert np.isfinite(found).all()
        bound = BOUNDS.get(recipe.name)
        if bound is not None:
            assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)


@pytest.mark.parametrize("name", UNCOMMON)
def test_a_pruned_network_is_the_dense_one_with_those_channels_zeroed(name):
    model = uncommon(name)
    prune = Prune(keep_ratio=0.5, multiple_of=1)
    decisions = prune.plan(model, None)
    data = samples(model)
    wanted, found = (
        evaluate(zeroed(model, decisions), data),
        evaluate(prune.apply(model, decisions), data),
    )
    for y, z in zip(wanted, found, strict=True):
        np.testing.assert_allclose(z, y, rtol=1e-3, atol=1e-4 * max(np.abs(y).max(), 1))


def test_each_use_of_a_layer_keeps_its_own_type_of_dynamic_input():
    """The first reads both signs, the second none below zero."""
    model = uncommon("both_signs")
    data = samples(model)
    decisions = DynamicQuantize().plan(model, None)
    assert [d.dtype for d in decisions if d.layer == "a"] == ["int8", "uint8"]
    assert error_ratio(model, DynamicQuantize().apply(model, decisions), data) < 0.05


@pytest.mark.parametrize("settings", [Quantize(), DynamicQuantize(), WeightOnly(bits=8)])
def test_a_weight_that_layers_read_both_ways_stays_in_floats(settings):
    model = uncommon("both_ways")
    made = run(model, (settings,), samples(model))
    kept = {d.layer for step in made.steps for d in step.decisions if isinstance(d, Kept)}
    assert kept == {"a"}
    assert not any(layer.quantized for layer in layers(made.model))


def test_a_use_that_overflows_keeps_the_weight_of_all_uses_in_float32():
    network = Small(lambda s, x: s.b(s.a(1e5 * s.a(x))), a=nn.Linear(6, 6), b=nn.Linear(6, 3))
    model = imported(network, (1, 6))
    made = run(model, (SixteenBit(dtype="float16"),), samples_of(model))
    stored = {layer.name: layer.stored.dtype for layer in layers(made.model)}
    assert stored["a"] == "float32"


def test_what_multiplies_constants_alone_is_no_layer():
    assert [layer.name for layer in layers(uncommon("a_constant_through_a_layer"))] == ["b"]


def test_decisions_are_given_to_the_uses_of_a_layer_in_order():
    model = uncommon("dense_twice")
    found = layers(model)
    decisions = [Kept(layer=layer.name, why=str(at)) for at, layer in enumerate(found)]
    paired = by_call(found, decisions)
    assert [paired[layer.call].why for layer in found] == ["0", "1", "2"]
