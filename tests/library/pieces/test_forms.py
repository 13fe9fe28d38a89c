"""Between two cells that both have a form for it 8-bit levels cross, between others floats."""

import numpy as np
import pytest

import adaspring
from adaspring.library.pieces.composition import Cell, Form, Levels
from adaspring.library.pieces.forms import choose_forms
from adaspring.library.pieces.loaded import Pieces
from adaspring.library.writer import write_library

from ...support.libraries import cost
from ...support.networks import SmallResNet
from ...support.passes import data, known
from ...support.pieces import parts_in_pieces

A = Levels(scale=0.1, zero_point=0, dtype="uint8")
B = Levels(scale=0.2, zero_point=0, dtype="uint8")


def cell(*ends):
    """A cell in floats, and its forms by what each takes and gives."""
    common = {"functions": (), "weights": (), "cost": cost()}
    forms = tuple(Form(code=f"{i}", takes=t, gives=g, **common) for i, (t, g) in enumerate(ends))
    return Cell(name="cell", recipe="", decisions=(), code="floats", forms=forms, **common)


def crossing(*cells):
    """What each chosen form takes and gives."""
    return [(getattr(f, "takes", None), getattr(f, "gives", None)) for f in choose_forms(cells)]


FLOATS = (None, None)
FIRST, MIDDLE, LAST = (cell((None, A)), cell((A, None), (None, A), (A, A)), cell((A, None)))


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        ((cell(), cell()), [FLOATS, FLOATS]),
        ((FIRST, LAST), [(None, A), (A, None)]),
        ((FIRST, MIDDLE, LAST), [(None, A), (A, A), (A, None)]),
        ((FIRST, MIDDLE, cell()), [(None, A), (A, None), FLOATS]),
        ((cell(), MIDDLE, LAST), [FLOATS, (None, A), (A, None)]),
        ((FIRST, cell(), LAST), [FLOATS, FLOATS, FLOATS]),
        ((FIRST, cell((B, None))), [FLOATS, FLOATS]),
        ((cell((None, B), (None, A)), LAST), [(None, A), (A, None)]),
        ((FIRST, cell((A, A)), LAST), [FLOATS, FLOATS, FLOATS]),
        ((FIRST, cell((A, None), (None, A)), LAST), [(None, A), (A, None), FLOATS]),
    ],
)  # fmt: skip
def test_levels_cross_wherever_two_neighbours_can(cells, right):
    assert crossing(*cells) == right


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "net.lib"
    write_library(path, parts_in_pieces())
    return adaspring.load(path)


def test_a_combination_in_levels_gives_what_its_cells_give_in_floats(library):
    x = data(known(SmallResNet), 1, seed=3).inputs[0]
    pieces = library.pieces()
    (between,) = pieces.single(0, "int8").run_arrays([x])
    (right,) = pieces.single(1, "int8").run_arrays([between])
    (form,) = pieces.segments[0].cell("int8").forms
    (levels,) = pieces.single(0, "int8", gives=form.gives).run_arrays([x])
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(library.open("int8/int8")(x), right)


def test_forms_share_the_weights_of_their_cell(library):
    for segment in library.pieces().segments:
        found = segment.cell("int8")
        for form in found.forms:
            own = {key for key in found.weights if not key.startswith("levels.")}
            assert own <= set(form.weights)


def test_what_a_combination_runs_is_loaded_once_and_kept_when_the_rest_is_dropped(library):
    loaded = []
    composition = library.manifest.composition
    pieces = Pieces(composition, lambda form: loaded.append(form.code), lambda *made: None)
    pieces.load_all()
    every = [f.code for s in composition.segments for c in s.cells for f in (c, *c.forms)]
    assert loaded == every
    pieces.drop_all_but("int8/int8")
    pieces.executable("int8/int8")
    assert loaded == every
    pieces.load_all()
    used = {form.code for segment in pieces.segments for form in segment.cell("int8").forms}
    assert sorted(loaded[len(every) :]) == sorted(set(every) - used)
