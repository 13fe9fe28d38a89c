"""Decisions are made at the first shape and carried out at all, on the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adaspring import targets
from adaspring.explore.plan import plan
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, Recipe
from adaspring.explore.request import Request
from adaspring.explore.shapes.every_shape import at_every_shape
from adaspring.explore.variants import Variant, make_probe, make_variant
from adaspring.passes import run
from adaspring.passes.factorize.factorize import Factorize
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import Reference

from ...support.free_shapes import Waves, export_encoder, export_words, run_torch, words

RECIPES = (
    DENSE,
    Recipe(name="pruned", passes=(Prune(keep_ratio=0.5, multiple_of=4),)),
    Recipe(name="split", passes=(Factorize(max_error_ratio=0.9, multiple_of=4),)),
    Recipe(name="int8", passes=(Quantize(),)),
)


def planned(folder, model, shapes, arrays):
    np.savez(folder / "held.npz", **arrays)
    request = Request(
        model=model,
        output=folder / "lib",
        boards=(targets.null(),),
        data=folder / "held.npz",
        recipes=(DENSE,),
        shapes=shapes,
        logs=folder / "logs",
        check_import=False,
    )
    made = plan(request)
    probe = make_probe(made.model, made.splits, made.metric)
    variants = [
        make_variant(each, run(made.model, each.passes, made.calibration), probe)
        for each in RECIPES
    ]
    return made, variants, probe


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("every")
    network = export_encoder(folder / "encoder.pt2")
    ids, mask = words(20, 16)
    labels = run_torch(network, ids, mask)[0].argmax(1)
    shapes = [{"ids": (1, 16)}, {"ids": (1, 32)}, {"ids": (3, 8)}]
    arrays = {"ids": ids, "mask": mask, "y": labels}
    return planned(folder, folder / "encoder.pt2", shapes, arrays)


def same_weights(ours, theirs) -> bool:
    names = list(ours.weights) == list(theirs.weights)
    return names and all(np.array_equal(ours.weights[n], theirs.weights[n]) for n in ours.weights)


def trained(variant: Variant) -> Variant:
    """The variant with other float weights, as if it had been retrained."""
    weights = {
        name: value * np.float32(1.01) if value.dtype == np.float32 else value
        for name, value in variant.model.weights.items()
    }
    model = variant.model.evolved(variant.model.module, weights)
    return replace(variant, model=model, training="retrained")


def test_decisions_and_weights_are_those_of_the_first_shape(encoder):
    made, variants, probe = encoder
    shapes, lost = at_every_shape(made, variants, probe, Silent())
    assert lost == ()
    assert [shape.model.inputs[0].shape for shape in shapes] == [(1, 16), (1, 32), (3, 8)]
    for shape in shapes:
        for first, there in zip(variants, shape.variants, strict=True):
            assert there.steps == first.steps
            assert same_weights(there.model, first.model)
            assert there.model.inputs == shape.model.inputs


def test_trained_weights_are_carried_over(encoder):
    made, variants, probe = encoder
    for variant in map(trained, variants):
        shapes, lost = at_every_shape(made, [variant], probe, Silent())
        assert lost == ()
        assert all(same_weights(shape.variants[0].model, variant.model) for shape in shapes)


def test_what_was_trained_and_is_another_weight_at_another_shape_is_dropped(encoder):
    made, variants, probe = encoder
    other = made.further_shapes[0]
    moved = {**other.weights, "positions": other.weights["positions"] + 1}
    elsewhere = replace(made, further_shapes=(other.evolved(other.module, moved),))
    pruned = next(variant for variant in variants if variant.name == "pruned")
    shapes, lost = at_every_shape(elsewhere, [variants[0], pruned], probe, Silent())
    assert lost == ()
    assert np.array_equal(shapes[1].variants[0].model.weights["positions"], moved["positions"])
    shapes, lost = at_every_shape(elsewhere, [variants[0], trained(pruned)], probe, Silent())
    assert [dropped.name for dropped in lost] == ["pruned"]
    assert "at ids=1,32 mask=1,32: positions was retrained, and is another" in lost[0].reason
    assert [[v.name for v in shape.variants] for shape in shapes] == [["dense"], ["dense"]]


def test_what_is_computed_from_the_shape_is_each_shapes_own(tmp_path):
    network = export_words(tmp_path / "waves.pt2", Waves)
    ids, _ = words(20, 8)
    shapes = [{"ids": (1, t)} for t in (8, 12)]
    made, variants, probe = planned(tmp_path, tmp_path / "waves.pt2", shapes, {"ids": ids})
    every, lost = at_every_shape(made, variants, probe, Silent())
    assert lost == ()
    for shape in every:
        (given, _) = words(*shape.model.inputs[0].shape)
        (right,) = run_torch(network, given)
        (ours,) = Reference(shape.variants[0].model).run(given)
        np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5)
        for variant in shape.variants[1:]:
            (near,) = Reference(variant.model).run(given)
            assert near.shape == right.shape
