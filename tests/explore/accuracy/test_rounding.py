"""Low-bit networks may be as far from their reference as rounding moves them, and no farther."""

from types import SimpleNamespace

import numpy as np
import pytest

from adaspring.explore.accuracy.rounding import apart
from adaspring.explore.gate import tolerance_ratio
from adaspring.explore.recipes import Recipe
from adaspring.explore.variants import Variant, make_variant, unlabelled_probe
from adaspring.frontend.data import Dataset
from adaspring.passes import Prune, Quantize, run
from adaspring.reference.executor import evaluate

from ...support.networks import Mlp
from ...support.passes import data, known

RNG = np.random.default_rng(0)
ROUNDED = RNG.standard_normal((50, 40))
ROUNDED[0, 0] = 5.0  # the largest
MOVED = 0.2 * RNG.standard_normal(ROUNDED.shape)
MOVED[0, 1] = 1.5


def variant(rounds=True, training=None):
    step = SimpleNamespace(settings=SimpleNamespace(rounds_weights=rounds), decisions=())
    model = run(known(Mlp), (Quantize(),) if rounds else (), data(known(Mlp), 16)).model
    return Variant(
        recipe=Recipe(name="int8"), model=model, steps=(step,), outputs=(ROUNDED,),
        validation_metric=None, training=training,
    )  # fmt: skip


PROBE = SimpleNamespace(dense_outputs=(ROUNDED + MOVED,))


def judged(difference, count=50, **changes):
    outputs = (ROUNDED + difference)[:count]
    return apart(known(Mlp), variant(**changes), PROBE, (outputs,))


def test_what_a_few_levels_explain_is_not_looked_at_further():
    found = judged(0.01 * np.sign(MOVED))
    assert found.ratio == pytest.approx(0.01 / 5)
    assert found.rounding_ratio == 0


@pytest.mark.parametrize("count", [50, 8])
def test_rounding_otherwise_may_move_outputs_twice_as_far_as_rounding_did(count):
    """Each may be so far from the float network, on either side of it."""
    other = 0.9 * MOVED[::-1, ::-1]
    found = judged(other, count)
    limit = np.abs(MOVED[:count]).max() / np.abs(ROUNDED[:count]).max()
    assert found.ratio > tolerance_ratio(variant().model)
    assert found.rounding_ratio == pytest.approx(2 * limit)


def test_outputs_that_are_farther_in_the_mean_have_no_excuse():
    assert judged(1.2 * MOVED).rounding_ratio == 0
    assert judged(ROUNDED).rounding_ratio == 0
    assert judged(np.full_like(ROUNDED, np.nan)).rounding_ratio == 0
    assert judged(np.full_like(ROUNDED, np.nan)).ratio == np.inf


def test_one_output_that_is_far_off_is_beyond_what_rounding_does():
    spike = np.zeros_like(ROUNDED)
    spike[3, 3] = 3 * np.abs(MOVED).max()
    found = judged(spike)
    assert found.ratio > max(found.rounding_ratio, tolerance_ratio(variant().model))


def test_floats_and_what_was_trained_have_no_excuse():
    assert judged(0.9 * MOVED, rounds=False).rounding_ratio == 0
    assert judged(0.9 * MOVED, training="10 epochs").rounding_ratio == 0


def test_of_a_pruned_network_the_rounding_alone_is_the_excuse():
    model, calibration = known(Mlp), data(known(Mlp), 2000)
    prune = Prune(keep_ratio=0.5, multiple_of=8)
    recipe = Recipe(name="pruned-int8", passes=(prune, Quantize()))
    probe = unlabelled_probe(model, calibration.inputs)
    made = make_variant(recipe, run(model, recipe.passes, calibration), probe)
    floats = evaluate(run(model, (prune,), calibration).model, Dataset(inputs=probe.inputs))
    spike = np.zeros_like(made.outputs[0])
    largest = np.abs(made.outputs[0]).max()
    spike[0, 0] = 0.06 * largest
    found = apart(model, made, probe, (made.outputs[0] + spike,))
    expected = np.abs(floats[0] - made.outputs[0]).max() / largest
    assert found.rounding_ratio == pytest.approx(2 * expected, rel=1e-4)
