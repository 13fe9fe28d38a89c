"""Pieces of a network, built, hand over images channels last, and compute what the whole does."""

import numpy as np
import pytest

from adaspring.backends.build import prepare
from adaspring.ir.pieces.segments import crossings, cut
from adaspring.passes.quantize.static import Quantize

from ...support.backends import run
from ...support.boards import HOST
from ...support.networks import MobileNetStyle, SmallCnn, SmallResNet
from ...support.passes import data, known


@pytest.mark.parametrize("network", [SmallCnn, SmallResNet, MobileNetStyle])
def test_built_pieces_one_after_the_other_compute_what_the_built_network_does(network, tmp_path):
    model = known(network)
    (x,) = data(model, 1).inputs
    (right,) = run(model, HOST, tmp_path, x)
    values = [x]
    for index, piece in enumerate(cut(model, crossings(model))):
        (tmp_path / str(index)).mkdir()
        values = run(piece, HOST, tmp_path / str(index), *values)
    np.testing.assert_allclose(values[0], right, rtol=1e-5, atol=1e-6)


def test_nothing_is_transposed_between_pieces():
    pieces = cut(model := known(SmallResNet), crossings(model))
    for piece in pieces[1:-1]:
        names = [var.name_hint for var in prepare(piece, HOST).module.get_global_vars()]
        assert not any("transpose" in name or "permute" in name for name in names), names


def test_a_compressed_piece_takes_and_gives_what_the_dense_one_does(tmp_path):
    model = known(SmallResNet)
    pieces = cut(model, crossings(model))
    piece = pieces[1]
    given = data(piece, 32)
    settings = Quantize()
    smaller = settings.apply(piece, settings.plan(piece, given))
    image = np.ascontiguousarray(given.inputs[0][:1].transpose(0, 2, 3, 1))
    outputs = []
    for index, each in enumerate((piece, smaller)):
        (tmp_path / str(index)).mkdir()
        outputs.append(run(each, HOST, tmp_path / str(index), image)[0])
    assert outputs[0].shape == outputs[1].shape
    assert np.abs(outputs[0] - outputs[1]).max() < 0.05 * np.abs(outputs[0]).max()
