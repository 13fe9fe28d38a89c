"""A network is cut where one tensor alone crosses; its pieces, joined, compute what it does."""

import numpy as np
import pytest
import torch
from torch import nn

from adaspring.errors import ModelError
from adaspring.frontend.data import Dataset
from adaspring.ir.layers import layers
from adaspring.ir.pieces.segments import CROSSING, crossing_vars, crossings, cut, join
from adaspring.ir.verify import verify
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from ..support.networks import ALL, Fn, SmallResNet, TinyEncoder
from ..support.passes import imported, known


def samples(model, count=6):
    rng = np.random.default_rng(0)
    arrays = (rng.standard_normal((count, *spec.shape[1:])) for spec in model.inputs)
    return Dataset(inputs=tuple(array.astype(np.float32) for array in arrays))


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_pieces_one_after_the_other_and_joined_compute_what_the_network_does(network):
    model = known(network)
    pieces, given = cut(model, crossings(model)), samples(model)
    joined = join(model.name, pieces)
    for each in (*pieces, joined):
        verify(each)
    values = given.inputs
    for piece in pieces:
        values = evaluate(piece, Dataset(inputs=values))
    for ours, again, right in zip(
        values, evaluate(joined, given), evaluate(model, given), strict=True
    ):
        np.testing.assert_array_equal(ours, right)
        np.testing.assert_array_equal(again, right)


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_each_layer_is_in_one_piece_in_order(network):
    model = known(network)
    pieces = cut(model, crossings(model))
    found = [layer.name for piece in pieces for layer in layers(piece)]
    assert found == [layer.name for layer in layers(model)]
    assert all(layers(piece) for piece in pieces)


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.__name__)
def test_what_crosses_is_found_again_from_the_pieces(network):
    model = known(network)
    for at in (crossings(model), crossings(model)[1::2]):
        found = crossing_vars(model, cut(model, at))
        assert len(found) == len(at)
        assert all(var.same_as(place.var) for var, place in zip(found, at, strict=True))


def test_pieces_of_another_network_are_refused():
    model = known(SmallResNet)
    with pytest.raises(ModelError, match="the pieces are of another network"):
        crossing_vars(model, cut(model, crossings(model)) * 9)


def test_a_residual_block_is_not_cut():
    model = known(SmallResNet)
    for piece in cut(model, crossings(model)):
        names = {layer.name for layer in layers(piece)}
        blocks = {name.split(".conv")[0] for name in names if ".conv" in name}
        for block in blocks:
            inside = {layer.name for layer in layers(model) if layer.name.startswith(block)}
            assert inside <= names


def test_images_cross_channels_last_and_vectors_as_they_are():
    model = known(SmallResNet)
    for piece in cut(model, crossings(model)):
        for spec in (*piece.inputs, *piece.outputs):
            crosses = spec.name == CROSSING
            assert spec.channels_last == (crosses and len(spec.shape) == 4)


def test_what_has_no_weights_goes_with_the_layer_before():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3))
    model = imported(network.eval(), (1, 3, 20, 20))
    (place,) = crossings(model)
    first, second = cut(model, [place])
    assert first.outputs[0].shape == (1, 8, 9, 9)
    assert [layer.name for layer in layers(second)] == ["3"]


def two_ways(self, x):
    return self.b(torch.relu(self.a(x))) + self.d(torch.relu(self.c(x)))


def returns_early(self, x):
    early = self.a(x)
    return early, self.b(torch.relu(early))


def returns_an_input(self, x):
    return x, self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("function", [two_ways, returns_early, returns_an_input])
def test_where_several_tensors_cross_nothing_is_cut(function):
    torch.manual_seed(0)
    parts = {name: nn.Linear(8, 8) for name in "abcd"}
    model = imported(Fn(function, **parts).eval(), (1, 8))
    assert crossings(model) == ()


def test_a_value_whose_leading_axis_does_not_count_samples_does_not_cross():
    def turned(self, x):
        return self.b(self.a(x).transpose(0, 1).relu()).transpose(0, 1)

    torch.manual_seed(0)
    model = imported(Fn(turned, a=nn.Linear(8, 6), b=nn.Linear(2, 4)).eval(), (2, 8))
    for place in crossings(model):
        assert next(int(extent) for extent in place.var.ty.shape.values) == 2


def test_a_weight_that_two_pieces_read_is_one_in_the_whole():
    shared = nn.Linear(8, 8)
    model = imported(nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), shared).eval(), (1, 8))
    pieces = cut(model, crossings(model))
    assert len(pieces) == 3
    assert join(model.name, pieces).weights.keys() == model.weights.keys()


def test_pieces_that_were_compressed_differently_are_joined_under_other_names():
    shared = nn.Linear(64, 64)
    model = imported(nn.Sequential(shared, nn.ReLU(), shared).eval(), (1, 64))
    first, second = cut(model, crossings(model))
    given = samples(model, 64)
    settings = Quantize()
    smaller = settings.apply(first, settings.plan(first, given))
    joined = join(model.name, [smaller, second])
    verify(joined)
    (between,) = evaluate(smaller, given)
    (right,) = evaluate(second, Dataset(inputs=(between,)))
    np.testing.assert_array_equal(evaluate(joined, given)[0], right)


def test_a_cut_leaves_the_network_as_it_was():
    model = imported(TinyEncoder())
    before = str(model.module)
    cut(model, crossings(model))
    assert str(model.module) == before
