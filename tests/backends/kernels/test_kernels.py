"""Every kernel by every tile computes what NumPy and torch compute in float64, or exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaspring.backends.kernels import compute, pack
from adaspring.backends.kernels.isa import Dot, InstructionSet, instruction_set

from ...support.boards import AVX2, HOST, NULL
from ...support.float64 import convolved, normal
from ...support.kernels import FEW, run_kernel

BOARDS = {"host": HOST, "null": NULL}
PLAIN_INT8 = InstructionSet(
    float_lanes=8,
    register_count=16,
    int8=Dot(lanes=8, depth=1, activation_dtype="uint8", intrinsic=None),
)
INT8 = pytest.mark.parametrize(
    "isa", [instruction_set(HOST), PLAIN_INT8, instruction_set(AVX2)], ids=["host", "plain", "avx2"]
)


def levels(dtype: str, *shape: int) -> np.ndarray:
    """All of the type's range, its ends among them."""
    info = np.iinfo(dtype)
    found = np.random.default_rng(len(shape)).integers(info.min, info.max + 1, shape, dtype)
    found.flat[0], found.flat[-1] = info.min, info.max
    return found


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@st.composite
def convolutions(draw, max_size: int = 9) -> tuple[tuple[int, int, int, int], tuple, object]:
    """(n, h, w, c_in), (c_out, kh, kw) and a window that fits."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    window = compute.Window(
        strides=draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        padding=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
    )
    reach = [window.dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    size = [draw(st.integers(reach[i], max_size)) for i in (0, 1)]
    channels = draw(st.integers(1, 21))
    return (draw(st.integers(1, 3)), *size, channels), (draw(st.integers(1, 37)), *kernel), window


@pytest.mark.parametrize("board", BOARDS)
@FEW
@given(convolutions())
def test_any_convolution_by_the_default_rule(board, drawn):
    x_shape, (channels, *kernel), window = drawn
    isa = instruction_set(BOARDS[board])
    x, weight = normal(*x_shape), normal(channels, x_shape[-1], *kernel)
    packed = pack.pack_conv2d(weight, isa.float_lanes, 1)
    (found,) = run_kernel(compute.conv2d, [x, packed], isa, window=window, channels=channels)
    assert_close(found, convolved(x, weight, window, 0))


@INT8
@FEW
@given(convolutions(), st.integers(0, 255))
def test_any_8_bit_convolution_is_exact(isa, drawn, zero):
    x_shape, (channels, *kernel), window = drawn
    dot = isa.int8
    pad_value = zero if dot.activation_dtype == "uint8" else zero - 128
    x, weight = (
        levels(dot.activation_dtype, *x_shape),
        levels("int8", channels, x_shape[-1], *kernel),
    )
    packed = pack.pack_conv2d(weight, dot.lanes, dot.depth)
    (found,) = run_kernel(
        compute.conv2d,
        [x, packed, np.array(pad_value, x.dtype)],
        isa,
        window=window,
        channels=channels,
    )
    np.testing.assert_array_equal(found, convolved(x, weight, window, pad_value))


@pytest.mark.parametrize("board", BOARDS)
@FEW
@given(convolutions())
def test_any_depthwise_convolution_by_the_default_rule(board, drawn):
    x_shape, (_, *kernel), window = drawn
    isa = instruction_set(BOARDS[board])
    x, weight = normal(*x_shape), normal(x_shape[-1], 1, *kernel)
    packed = pack.pack_depthwise(weight)
    (found,) = run_kernel(compute.depthwise_conv2d, [x, packed], isa, window=window)
    assert_close(found, convolved(x, weight, window, 0, groups=x_shape[-1]))


@FEW
@given(convolutions(), st.integers(0, 255))
def test_any_8_bit_depthwise_convolution_is_exact(drawn, pad_value):
    x_shape, (_, *kernel), window = drawn
    isa = instruction_set(HOST)
    dtype = isa.int8.activation_dtype
    pad_value -= 0 if dtype == "uint8" else 128
    x, weight = levels(dtype, *x_shape), levels("int8", x_shape[-1], 1, *kernel)
    packed = pack.pack_depthwise(weight)
    zero = np.array(pad_value, dtype)
    (found,) = run_kernel(compute.depthwise_conv2d, [x, packed, zero], isa, window=window)
    np.testing.assert_array_equal(
        found, convolved(x, weight, window, pad_value, groups=x_shape[-1])
    )


@pytest.mark.parametrize("integer", [False, True], ids=["fp32", "int8"])
@FEW
@given(convolutions(), st.integers(1, 6), st.integers(1, 9))
def test_any_grouped_convolution(integer, drawn, groups, out):
    (n, h, w, into), (_, *kernel), window = drawn
    isa = instruction_set(HOST)
    lanes, depth = (isa.int8.lanes, isa.int8.depth) if integer else (isa.float_lanes, 1)
    x_shape, shape = (n, h, w, into * groups), (out * groups, into, *kernel)
    if integer:
        x, weight = levels(isa.int8.activation_dtype, *x_shape), levels("int8", *shape)
    else:
        x, weight = normal(*x_shape), normal(*shape)
    merged, left = pack.merged_groups(weight, groups, lanes, depth)
    packed = pack.pack_conv2d(merged, lanes, depth)
    settings = {"window": window, "channels": out * groups, "groups": left}
    (found,) = run_kernel(compute.conv2d, [x, packed], isa, **settings)
    assert_close(found, convolved(x, weight, window, 0, groups=groups))


@pytest.mark.parametrize("board", BOARDS)
@FEW
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 70), st.integers(1, 70))
def test_any_dense_layer_by_the_default_rule(board, lead, k, n):
    isa = instruction_set(BOARDS[board])
    x, weight = normal(*lead, k), normal(k, n)
    packed = pack.pack_dense(weight, isa.float_lanes, 1)
    (found,) = run_kernel(compute.dense, [x, packed], isa, channels=n)
    assert_close(found, x.astype(np.float64) @ weight.astype(np.float64))


@INT8
@FEW
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 70), st.integers(1, 70))
def test_any_8_bit_dense_layer_is_exact(isa, lead, k, n):
    dot = isa.int8
    x, weight = levels(dot.activation_dtype, *lead, k), levels("int8", k, n)
    packed = pack.pack_dense(weight, dot.lanes, dot.depth)
    (found,) = run_kernel(compute.dense, [x, packed], isa, channels=n)
    np.testing.assert_array_equal(found, x.astype(np.int64) @ weight.astype(np.int64))


@pytest.mark.parametrize("board", BOARDS)
@FEW
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), *(st.integers(1, 33) for _ in range(3)))
def test_any_batched_product_by_the_default_rule(board, lead, i, k, j):
    isa = instruction_set(BOARDS[board])
    a, b = normal(*lead, i, k), normal(*lead, k, j)
    (found,) = run_kernel(compute.batched_matmul, [a, b], isa)
    assert_close(found, a.astype(np.float64) @ b.astype(np.float64))


WINDOWS = {
    "3x3, padded": ((2, 5, 6, 5), (33, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "3x3, strided, padded on one side": ((1, 8, 9, 3), (32, 3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    "1x1": ((1, 4, 4, 16), (48, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    "2x3, dilated": ((1, 7, 8, 4), (16, 2, 3), (1, 1), (1, 2, 0, 2), (2, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("case", WINDOWS)
def test_every_tile_convolves_alike(case, board):
    x_shape, (channels, *kernel), strides, padding, dilation = WINDOWS[case]
    window = compute.Window(strides=strides, padding=padding, dilation=dilation)
    isa = instruction_set(BOARDS[board])
    x, weight = normal(*x_shape), normal(channels, x_shape[-1], *kernel)
    packed = pack.pack_conv2d(weight, isa.float_lanes, 1)
    settings_ = {"window": window, "channels": channels}
    expected = convolved(x, weight, window, 0)
    for found in run_kernel(compute.conv2d, [x, packed], isa, every_tile=True, **settings_):
        assert_close(found, expected)


@pytest.mark.slow
@INT8
@pytest.mark.parametrize("case", WINDOWS)
def test_every_tile_convolves_8_bit_integers_exactly(case, isa):
    x_shape, (channels, *kernel), strides, padding, dilation = WINDOWS[case]
    window = compute.Window(strides=strides, padding=padding, dilation=dilation)
    dot = isa.int8
    x, weight = (
        levels(dot.activation_dtype, *x_shape),
        levels("int8", channels, x_shape[-1], *kernel),
    )
    packed = pack.pack_conv2d(weight, dot.lanes, dot.depth)
    settings_ = {"window": window, "channels": channels}
    expected = convolved(x, weight, window, 3)
    operands = [x, packed, np.array(3, x.dtype)]
    for found in run_kernel(compute.conv2d, operands, isa, every_tile=True, **settings_):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_every_tile_multiplies_alike(board):
    isa = instruction_set(BOARDS[board])
    x, weight = normal(6, 19), normal(19, 40)
    packed = pack.pack_dense(weight, isa.float_lanes, 1)
    for found in run_kernel(compute.dense, [x, packed], isa, every_tile=True, channels=40):
        assert_close(found, x.astype(np.float64) @ weight.astype(np.float64))
    a, b = normal(2, 6, 9), normal(2, 9, 32)
    for found in run_kernel(compute.batched_matmul, [a, b], isa, every_tile=True):
        assert_close(found, a.astype(np.float64) @ b.astype(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_every_tile_convolves_channel_by_channel_alike(board):
    isa = instruction_set(BOARDS[board])
    window = compute.Window(strides=(1, 2), padding=(1, 1, 1, 1), dilation=(1, 1))
    x, weight = normal(1, 5, 8, 32), normal(32, 1, 3, 3)
    settings = {"every_tile": True, "window": window}
    for found in run_kernel(
        compute.depthwise_conv2d, [x, pack.pack_depthwise(weight)], isa, **settings
    ):
        assert_close(found, convolved(x, weight, window, 0, groups=32))
