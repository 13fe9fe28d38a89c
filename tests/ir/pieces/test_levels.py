"""A piece that quantizes what it takes has forms in which 8-bit levels cross instead of floats."""

import numpy as np
import pytest
import torch
from torch import nn
from tvm import relax

from adaspring.frontend.data import Dataset
from adaspring.ir.graph import Graph, is_call
from adaspring.ir.pieces.levels import Levels, forms, give_levels, levels_taken, take_levels
from adaspring.ir.pieces.segments import crossings, cut, join
from adaspring.ir.quantized_layers import integer_layers
from adaspring.ir.rewrite import rebuild
from adaspring.ir.verify import verify
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from ...support.int8_pieces import int8_pieces
from ...support.networks import Mlp, MobileNetStyle, SmallCnn, SmallResNet
from ...support.passes import data, fingerprint, imported, known

NETWORKS = (SmallCnn, SmallResNet, MobileNetStyle, Mlp)
LEVELS = Levels(scale=float(np.float32(0.05)), zero_point=3, dtype="uint8")


def in_turn(pieces, values):
    for piece in pieces:
        values = evaluate(piece, Dataset(inputs=values))
    return values


def in_levels(pieces, dtype="uint8"):
    """The pieces, wherever one can take levels those crossing."""
    made = list(pieces)
    for index, piece in enumerate(pieces[1:], start=1):
        levels = levels_taken(piece)
        if levels is not None:
            made[index] = take_levels(made[index], dtype)
            made[index - 1] = give_levels(made[index - 1], levels.of_type(dtype))
    return made


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("network", NETWORKS)
def test_pieces_that_hand_over_levels_compute_what_they_do_in_floats(network, dtype):
    pieces = int8_pieces(network)
    crossing = in_levels(pieces, dtype)
    for piece in crossing:
        verify(piece)
    assert any(piece.inputs[0].dtype == dtype for piece in crossing)
    given = data(known(network), 8, seed=1).inputs
    for ours, right in zip(in_turn(crossing, given), in_turn(pieces, given), strict=True):
        np.testing.assert_array_equal(ours, right)


@pytest.mark.parametrize("network", NETWORKS)
def test_in_levels_nothing_is_quantized_at_the_head_and_as_many_layers_are_integer(network):
    for piece in int8_pieces(network)[1:]:
        assert levels_taken(piece) is not None
        taking = take_levels(piece, "uint8")
        graph, crossing = Graph.of(taking), taking.function.params[0]
        readers = [graph.producers[var] for var in graph.consumers[crossing]]
        assert readers
        assert all(is_call(value, "relax.dequantize") for value in readers)
        assert len(integer_layers(taking)) == len(integer_layers(piece)) > 0


def test_pieces_in_levels_can_be_joined():
    pieces = int8_pieces(SmallResNet)
    joined, given = join("joined", in_levels(pieces)), data(known(SmallResNet), 8, seed=1)
    verify(joined)
    np.testing.assert_array_equal(evaluate(joined, given)[0], in_turn(pieces, given.inputs)[0])


def test_the_forms_of_a_piece_are_those_that_take_or_give_levels():
    first, second, *_ = int8_pieces(SmallResNet)
    taken = levels_taken(second)
    found = {(form.takes, form.gives): form.model for form in forms(second, [LEVELS], "uint8")}
    assert found.keys() == {(taken, None), (None, LEVELS), (taken, LEVELS)}
    for (takes, gives), model in found.items():
        assert model.inputs[0].dtype == ("float32" if takes is None else "uint8")
        assert model.outputs[0].dtype == ("float32" if gives is None else "uint8")
        assert model.inputs[0].channels_last
        assert model.outputs[0].channels_last
        assert all(
            np.shares_memory(model.weights[key], value) for key, value in second.weights.items()
        )
    assert [(form.takes, form.gives) for form in forms(first, [LEVELS], "uint8")] == [
        (None, LEVELS)
    ]


def test_levels_that_are_the_same_in_the_boards_type_make_one_form():
    (_, piece, *_) = int8_pieces(SmallResNet)
    found = forms(piece, [LEVELS, LEVELS.of_type("int8"), LEVELS], "int8")
    assert len(found) == 3
    assert {form.gives for form in found} == {None, LEVELS.of_type("int8")}


def test_levels_of_either_type_stand_for_the_same_values():
    random = np.random.default_rng(0)
    signed = LEVELS.of_type("int8")
    assert signed.of_type("uint8") == LEVELS
    x = random.normal(size=10000).astype(np.float32) * 10
    scale = np.float32(LEVELS.scale)
    stored = [
        np.clip(np.rint(x / scale) + each.zero_point, *limits) - each.zero_point
        for each, limits in ((LEVELS, (0, 255)), (signed, (-128, 127)))
    ]
    np.testing.assert_array_equal(*stored)


def test_a_piece_in_floats_takes_no_levels():
    model = known(SmallResNet)
    assert all(levels_taken(piece) is None for piece in cut(model, crossings(model)))


def test_the_first_piece_takes_no_levels():
    assert levels_taken(int8_pieces(SmallResNet)[0]) is None


def with_head(piece, change):
    """The piece, its first quantize made another."""

    def rewrite(body, var, value):
        if is_call(value, "relax.quantize") and value.args[0].same_as(piece.function.params[0]):
            return change(body, value)
        return body.of(value)

    return rebuild(piece, piece.weights, rewrite)


def test_a_piece_that_reads_floats_beside_its_levels_takes_none():
    def changed(body, value):
        again = body.emit(relax.op.nn.relu(body.of(value.args[0])), "again")
        return relax.op.quantize(again, *value.args[1:], out_dtype="uint8")

    assert levels_taken(with_head(int8_pieces(SmallResNet)[1], changed)) is None


def test_a_piece_that_quantizes_what_it_takes_in_two_ways_takes_no_levels():
    torch.manual_seed(0)
    model = imported(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval(), (1, 8))
    _, piece = cut(model, crossings(model))
    settings = Quantize()
    quantized = settings.apply(piece, settings.plan(piece, data(piece, 32)))
    assert levels_taken(quantized) is not None

    def rewrite(body, var, value):
        if not is_call(value, "relax.dequantize") or not is_call(
            Graph.of(quantized).producers.get(value.args[0]), "relax.quantize"
        ):
            return body.of(value)
        source = quantized.function.params[0]
        other = relax.op.quantize(body.of(source), *LEVELS.arguments, out_dtype="uint8")
        floats = relax.op.dequantize(body.emit(other, "other"), *LEVELS.arguments)
        return relax.op.add(body.of(value), body.emit(floats, "floats"))

    twice = rebuild(quantized, quantized.weights, rewrite)
    assert levels_taken(twice) is None


def test_a_scale_for_each_channel_is_no_scale_of_levels():
    def changed(body, value):
        count = int(value.args[0].ty.shape.values[1])
        scales = relax.const(np.full(count, 0.1, np.float32))
        zeros = relax.const(np.zeros(count, np.uint8), "uint8")
        return relax.op.quantize(body.of(value.args[0]), scales, zeros, axis=1, out_dtype="uint8")

    assert levels_taken(with_head(int8_pieces(SmallResNet)[1], changed)) is None


def test_the_piece_that_forms_are_made_of_is_left_as_it_was():
    _, piece, *_ = int8_pieces(SmallResNet)
    before = fingerprint(piece)
    forms(piece, [LEVELS], "uint8")
    assert fingerprint(piece) == before
