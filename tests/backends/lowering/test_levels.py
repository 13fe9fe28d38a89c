"""Int8 pieces hand over 8-bit levels, as the board's kernels keep them, and no floats between."""

import numpy as np
import pytest
from tvm import relax

from adaspring.backends.build import prepare
from adaspring.backends.lowering.lower import lower
from adaspring.ir.pieces.levels import Levels, give_levels, levels_taken, take_levels

from ...support.backends import run
from ...support.boards import HOST, INT8_KERNELS
from ...support.int8_pieces import int8_pieces
from ...support.networks import Mlp, MobileNetStyle, SmallCnn, SmallResNet
from ...support.passes import data


def calls(model):
    """The names of the functions that a piece calls, in order."""
    blocks = prepare(model, HOST).module["main"].body.blocks
    values = [binding.value for block in blocks for binding in block.bindings]
    return [
        value.args[0].name_hint
        for value in values
        if isinstance(value, relax.Call) and value.op.name == "relax.call_tir"
    ]


def taken_by(piece):
    """The levels that a piece takes."""
    levels = levels_taken(piece)
    assert levels is not None
    return levels


def given(piece):
    """Samples of what a piece takes, as it takes them: what crosses comes from a relu."""
    (x,) = data(piece, 1, seed=3).inputs
    if not piece.inputs[0].channels_last:
        return x
    return np.ascontiguousarray(np.maximum(x, 0).transpose(0, 2, 3, 1))


def in_turn(pieces, folder, x, isa=None):
    """What each of the pieces gives, built, for what the one before it gave."""
    found, values = [], [x]
    for index, piece in enumerate(pieces):
        (own := folder / str(index)).mkdir(parents=True)
        values = run(piece, HOST, own, *values, isa=isa)
        found.append(values[0])
    return found


def pair(network, index, dtype):
    """Two neighbours, and the same in levels."""
    first, second = int8_pieces(network)[index : index + 2]
    levels = taken_by(second).of_type(dtype)
    return (first, second), (give_levels(first, levels), take_levels(second, dtype))


@pytest.mark.parametrize("network", [SmallCnn, SmallResNet, MobileNetStyle, Mlp])
def test_two_int8_pieces_compute_in_levels_what_they_do_in_floats(network, tmp_path):
    floats, levels = pair(network, len(int8_pieces(network)) - 2, "uint8")
    x = given(floats[0])
    (between, right) = in_turn(floats, tmp_path / "floats", x)
    (crossing, found) = in_turn(levels, tmp_path / "levels", x)
    assert crossing.dtype == np.uint8
    assert crossing.shape == between.shape
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("kernels", ["null", "signed"])
def test_levels_of_either_type_cross_whatever_a_boards_kernels_keep(kernels, dtype, tmp_path):
    isa, (floats, levels) = INT8_KERNELS[kernels], pair(SmallResNet, 1, dtype)
    x = given(floats[0])
    (between, right) = in_turn(floats, tmp_path / "floats", x, isa)
    (crossing, found) = in_turn(levels, tmp_path / "levels", x, isa)
    taken = taken_by(floats[1]).of_type(dtype)
    near = np.rint(between / np.float32(taken.scale)) + taken.zero_point
    limits = np.iinfo(dtype)
    assert np.abs(crossing - near.clip(limits.min, limits.max)).max() <= 1  # ties
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("network", [SmallResNet, MobileNetStyle])
def test_no_kernel_quantizes_or_dequantizes_at_the_crossing(network):
    floats, levels = pair(network, 1, "uint8")
    (before, after), (gives, takes) = (list(map(calls, each)) for each in (floats, levels))
    assert after[0] == "quantize"
    assert len(takes) == len(after) - 1
    assert not any(name.startswith(("quantize", "dequantize")) for name in takes)
    assert len(gives) == len(before)
    assert gives[-1].startswith(f"{before[-1]}_quantize")


def test_levels_that_the_boards_kernels_keep_are_not_shifted():
    for dtype, isa in (("uint8", INT8_KERNELS["host"]), ("int8", INT8_KERNELS["signed"])):
        for piece in pair(SmallResNet, 1, dtype)[1]:
            names = [var.name_hint for var in lower(piece, isa).module.get_global_vars()]
            assert not any("shift" in name for name in names), names


def test_nothing_is_transposed_between_pieces_in_levels():
    for piece in pair(SmallResNet, 2, "uint8")[1]:
        assert not any("transpose" in name or "permute" in name for name in calls(piece))


def test_a_piece_gives_levels_of_another_scale_than_its_own_layers_read(tmp_path):
    first, second = int8_pieces(SmallResNet)[1:3]
    other = Levels(scale=float(np.float32(0.05)), zero_point=7, dtype="uint8")
    x = given(first)
    (between, _) = in_turn((first, second), tmp_path / "floats", x)
    (crossing,) = in_turn((give_levels(first, other),), tmp_path / "levels", x)
    right = (np.rint(between / np.float32(0.05)) + 7).clip(0, 255)
    assert np.abs(crossing - right).max() <= 1
    assert (crossing != right).mean() < 1e-3
