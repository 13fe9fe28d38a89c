"""Quantized cells have forms for the levels of their neighbours, and crossings what those save."""

import numpy as np
import pytest

from adaspring.explore.cells.cells import Cell, Pieces
from adaspring.explore.cells.forms import crossing_ms, forms_of
from adaspring.explore.recipes import DENSE
from adaspring.ir.pieces.levels import levels_taken
from adaspring.ir.pieces.segments import crossings, cut
from adaspring.passes.quantize.static import Quantize

from ...support.boards import HOST
from ...support.int8_pieces import int8_pieces
from ...support.networks import Mlp
from ...support.passes import data, known


def recipe(name):
    """A recipe of that name; cells here are made by hand."""
    return type(DENSE)(name=name, passes=())


@pytest.fixture(scope="module")
def pieces():
    """Of each piece the dense cell, one in 8 bits, and one that was calibrated otherwise."""
    dense = cut(model := known(Mlp), crossings(model))
    cells = []
    for index, (piece, small) in enumerate(zip(dense, int8_pieces(Mlp), strict=True)):
        settings, given = Quantize(), data(piece, 24, seed=9)
        other = settings.apply(piece, settings.plan(piece, given))
        models = {"dense": piece, "int8": small, "other": other}
        cells.append(
            tuple(Cell(segment=index, recipe=recipe(n), model=m) for n, m in models.items())
        )
    return Pieces(dense=dense, cells=tuple(cells))


def ends(made, name):
    return {(f.form.takes, f.form.gives): f.name for f in made if f.cell.name == name}


def test_a_quantized_cell_gives_what_the_next_ones_take_and_a_dense_one_has_no_forms(pieces):
    made = forms_of(pieces, HOST)
    one, two = (levels_taken(cell.model) for cell in pieces.cells[1][1:])
    assert one != two
    assert not ends(made, "0.dense")
    assert ends(made, "0.int8").keys() == {(None, one), (None, two)}
    last = levels_taken(pieces.cells[2][1].model)
    assert ends(made, "2.int8").keys() == {(last, None)}
    middle = ends(made, "1.int8").keys()
    assert {takes for takes, _ in middle} == {None, one}
    assert len(middle) == 5


def test_names_of_forms_are_like_no_other(pieces):
    names = [each.name for each in (*pieces.every, *forms_of(pieces, HOST))]
    assert len(set(names)) == len(names)


def test_a_crossing_costs_what_two_cells_take_more_in_levels_and_nothing_where_floats_cross(pieces):
    made = forms_of(pieces, HOST)
    p90 = {each.name: 10.0 for each in pieces.every} | {each.name: 9.0 for each in made}
    (levels,) = {t for t, g in ends(made, "1.int8") if t is not None and g is None}
    p90[ends(made, "0.int8")[None, levels]] = 7.0
    p90[ends(made, "1.int8")[levels, None]] = 8.5
    first, second = crossing_ms(pieces, made, p90)
    np.testing.assert_allclose(first, [[0, 0, 0], [0, -4.5, -2], [0, -2.5, -2]])
    np.testing.assert_allclose(second, [[0, 0, 0], [0, -2, -2], [0, -2, -2]])
