"""Each piece of a network gets the cells that change it; combinations run as one network does."""

from dataclasses import replace

import numpy as np
import pytest

from adaspring.explore.cells.answers import Answers
from adaspring.explore.cells.cells import make_cells
from adaspring.explore.cells.divide import choose, divide
from adaspring.explore.progress import Silent
from adaspring.explore.recipes import DENSE, OF_PIECES, Recipe, find_recipes
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers, macs_count
from adaspring.ir.pieces.segments import crossings, join
from adaspring.library.manifest import DecisionRecord
from adaspring.passes import run
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.static import Quantize
from adaspring.passes.refit import Refit
from adaspring.reference.executor import evaluate

from ...support.networks import MobileNetStyle, SmallResNet
from ...support.passes import data, fingerprint, known

RECIPES = (
    DENSE,
    Recipe(name="half", passes=(Prune(keep_ratio=0.5),)),
    Recipe(name="half-again", passes=(Prune(keep_ratio=0.5),)),
    Recipe(name="int8", passes=(Quantize(),)),
    Recipe(name="nothing", passes=(Prune(keep_ratio=0.99, multiple_of=64),)),
)


TRAINED = DecisionRecord(pass_name="retrain", layer="all", action="changed", detail="five epochs")


@pytest.fixture(scope="module")
def pieces():
    model = known(SmallResNet)
    return make_cells(divide(model, 3), RECIPES, data(model, 32), Silent())


@pytest.mark.parametrize("network", [SmallResNet, MobileNetStyle])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
def test_a_network_is_divided_into_pieces_of_about_equal_work(network, most):
    model = known(network)
    found = divide(model, most)
    assert 1 <= len(found) <= min(most, len(crossings(model)) + 1)
    if most == 2:
        first, second = (sum(layer.macs_count for layer in layers(each)) for each in found)
        places = crossings(model)
        others = [choose(model, [place], 2) for place in places]
        total = first + second
        done = np.cumsum([layer.macs_count for layer in layers(model)])
        best = min(abs(done[place.layers_count - 1] - total / 2) for (place,) in others)
        assert abs(first - total / 2) == best


def test_a_recipe_that_changes_nothing_or_the_same_gives_no_cell(pieces):
    for cells in pieces.cells:
        names = [cell.recipe.name for cell in cells]
        assert names[0] == "dense"
        assert "int8" in names
        assert "half-again" not in names
        assert "nothing" not in names


def test_pieces_get_cells_with_a_block_left_out_and_layers_in_two_branches_or_by_channel():
    model = known(SmallResNet)
    dense = divide(model, 3)
    found = make_cells(dense, (DENSE, *OF_PIECES), data(model, 32), Silent())
    assert {"shallow", "shallow-int8", "fire", "separable"} <= {
        cell.recipe.name for cell in found.every
    }
    for piece, cells in zip(found.dense, found.cells, strict=True):
        for cell in cells[1:]:
            assert macs_count(cell.model) < macs_count(piece)
            if cell.recipe.name == "shallow":
                left = {layer.name for layer in layers(piece)}
                assert {layer.name for layer in layers(cell.model)} < left


def test_they_are_tried_on_whole_networks_where_they_are_named_alone():
    names = [recipe.name for recipe in OF_PIECES]
    assert find_recipes(names)[1:] == OF_PIECES
    assert not {recipe.name for recipe in find_recipes(())} & set(names)


def test_each_cell_takes_and_gives_what_the_dense_one_does(pieces):
    for dense, cells in zip(pieces.dense, pieces.cells, strict=True):
        for cell in cells:
            assert cell.model.inputs == dense.inputs
            assert cell.model.outputs == dense.outputs


def test_cells_are_refitted_to_what_crosses_to_their_piece_in_the_dense_network(pieces):
    given = data(known(SmallResNet), 32)
    for piece, cells in zip(pieces.dense, pieces.cells, strict=True):
        for cell in cells[1:]:
            alone = run(piece, cell.recipe.passes, given).model
            assert fingerprint(cell.model) == fingerprint(alone)
        refits = [
            each
            for cell in cells
            for step in cell.steps
            for each in step.decisions
            if isinstance(each, Refit)
        ]
        assert all(each.error_after_ratio <= each.error_before_ratio for each in refits)
        (crossing,) = evaluate(piece, given)
        given = Dataset(inputs=(crossing,))
    assert any(cell.recipe.name == "half" for cell in pieces.every)


def test_what_passes_did_to_each_layer_of_a_piece_is_told(pieces):
    for index, cells in enumerate(pieces.cells):
        for cell in cells[1:]:
            told = {decision.layer for decision in cell.decisions()}
            assert told & set(pieces.layer_names(index))


def test_combinations_run_as_their_joined_networks_do(pieces):
    x = data(known(SmallResNet), 8, seed=1).inputs
    answers = Answers(pieces, x)
    rng = np.random.default_rng(0)
    for _ in range(6):
        cells = tuple(int(rng.integers(count)) for count in pieces.counts)
        chosen = [made[cell].model for made, cell in zip(pieces.cells, cells, strict=True)]
        (right,) = evaluate(join("joined", chosen), Dataset(inputs=x))
        np.testing.assert_array_equal(answers(cells)[0], right)


def test_the_dense_combination_is_the_network(pieces):
    given = data(known(SmallResNet), 8, seed=1)
    (right,) = evaluate(known(SmallResNet), given)
    dense = (0,) * len(pieces.counts)
    np.testing.assert_array_equal(Answers(pieces, given.inputs)(dense)[0], right)


def test_what_a_combination_gives_unrounded_is_that_of_its_other_passes_alone():
    model, calibration = known(SmallResNet), data(known(SmallResNet), 32)
    recipes = (
        DENSE,
        Recipe(name="half", passes=(Prune(keep_ratio=0.5),)),
        Recipe(name="int8", passes=(Quantize(),)),
        Recipe(name="half-int8", passes=(Prune(keep_ratio=0.5), Quantize())),
    )
    found = make_cells(divide(model, 2), recipes, calibration, Silent())
    answers = Answers(found, calibration.inputs)
    names = [[cell.recipe.name for cell in cells] for cells in found.cells]

    def cells(*chosen):
        return tuple(each.index(name) for each, name in zip(names, chosen, strict=True))

    for rounded, floats in (
        (("half-int8", "dense"), ("half", "dense")),
        (("int8", "half-int8"), ("dense", "half")),
        (("half", "dense"), ("half", "dense")),
    ):
        (ours,) = answers.unrounded(cells(*rounded), 8)
        np.testing.assert_array_equal(ours, answers(cells(*floats))[0][:8])
    trained = tuple(tuple(replace(cell, training=TRAINED) for cell in each) for each in found.cells)
    assert Answers(replace(found, cells=trained), calibration.inputs).unrounded((0, 1), 8) is None
