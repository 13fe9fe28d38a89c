"""The template for GPUs: its tiles keep their limits, and each computes what the kernel says."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import IRModule, te
from tvm.target import Target

from adaspring.backends.candidate_worker import build_candidate
from adaspring.backends.kernels import compute, pack
from adaspring.backends.kernels.isa import VECTOR, instruction_set
from adaspring.backends.kernels.window import Window
from adaspring.backends.schedule.contraction import new_schedule
from adaspring.backends.schedule.gpu import template_schedules
from adaspring.backends.schedule.gpu_contraction import GpuShape, gpu_shape, gpu_tiles
from adaspring.targets import host_opencl

from ...support.kernels import FEW, values, whole
from ...support.opencl import require_opencl

BOARD = host_opencl()
ISA = instruction_set(BOARD)
TARGET = Target(dict(BOARD.target))
FEWER = settings(FEW, max_examples=3)  # two programs each


@given(
    st.builds(
        GpuShape,
        images=st.integers(1, 3),
        rows=st.integers(1, 64),
        columns=st.integers(1, 64),
        channels=st.integers(1, 520),
        taps=st.integers(1, 4608),
    ),
    st.sampled_from([16, 128, 256]),
)
@settings(max_examples=60, deadline=None)
def test_every_tile_keeps_the_limits_and_divides_the_shape(shape, most_threads):
    tiles = gpu_tiles(shape, most_threads)
    assert tiles
    for tile in tiles:
        assert tile.threads <= most_threads
        assert tile.sums(shape.lanes) <= 32
        assert shape.rows % (tile.row_threads * tile.row) == 0
        assert shape.columns % (tile.column_threads * tile.column) == 0
        assert shape.channels % (tile.vector_threads * tile.vectors * shape.lanes) == 0


def by_tiles(kernel, arrays, position, **attributes) -> list[np.ndarray]:
    """What a kernel gives on the OpenCL device, by the first tile and by another."""
    require_opencl()
    inputs = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    output = kernel(*inputs, **attributes)
    function = te.create_prim_func([*inputs, output]).with_attr("global_symbol", "main")
    shape = gpu_shape(new_schedule(function))
    assert shape is not None
    other = position % len(gpu_tiles(shape))
    chosen = (
        sch for at, sch in enumerate(template_schedules(function, ISA, TARGET)) if at in (0, other)
    )
    return [run(sch.mod, arrays, output) for sch in chosen]


def run(module: IRModule, arrays: list[np.ndarray], output: te.Tensor) -> np.ndarray:
    settings_ = json.dumps(dict(BOARD.target)), BOARD.architecture
    built = build_candidate(tvm.ir.save_json(module), *settings_)
    with TemporaryDirectory() as folder:
        code = Path(folder) / "code.so"
        code.write_bytes(built.code)
        loaded = tvm.runtime.load_module(str(code))
    given = [tvm.runtime.tensor(array, tvm.opencl(0)) for array in arrays]
    result = np.full([int(extent) for extent in output.shape], 77, str(output.dtype))
    there = tvm.runtime.tensor(result, tvm.opencl(0))
    loaded["main"](*given, there)
    return there.numpy()


def exact(dtype: str) -> dict[str, float]:
    return {"rtol": 0, "atol": 0} if dtype == "int8" else {"rtol": 1e-5, "atol": 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@given(
    into=st.sampled_from([3, 4, 6, 16]),
    out=st.sampled_from([4, 8, 10, 24]),
    size=st.sampled_from([(7, 9), (8, 8), (5, 12)]),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    position=st.integers(1, 10_000),
)
@FEWER
def test_a_convolution_is_right_by_any_tile(
    dtype, into, out, size, kernel, stride, padding, position
):
    image, weight = values(dtype, 1, into, *size), values(dtype, out, into, kernel, kernel)
    depth = VECTOR if dtype == "int8" else 1
    packed = pack.pack_conv2d(weight, whole(out), depth)
    window = Window(strides=(stride, stride), padding=(padding,) * 4, dilation=(1, 1))
    arrays = [np.ascontiguousarray(image.transpose(0, 2, 3, 1)), packed]
    if dtype == "int8":
        arrays.append(np.array(0, np.int8))
    settings_ = {"window": window, "channels": out}
    wide = (torch.from_numpy(array.astype(np.float64)) for array in (image, weight))
    wanted = F.conv2d(*wide, stride=stride, padding=padding).permute(0, 2, 3, 1).numpy()
    for found in by_tiles(compute.conv2d, arrays, position, **settings_):
        np.testing.assert_allclose(found, wanted, **exact(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@given(channels=st.sampled_from([4, 6, 16]), stride=st.integers(1, 2), position=st.integers(1, 999))
@FEWER
def test_a_depthwise_convolution_is_right_by_any_tile(dtype, channels, stride, position):
    image, weight = values(dtype, 1, channels, 9, 8), values(dtype, channels, 1, 3, 3)
    arrays = [np.ascontiguousarray(image.transpose(0, 2, 3, 1)), pack.pack_depthwise(weight)]
    window = Window(strides=(stride, stride), padding=(1, 1, 1, 1), dilation=(1, 1))
    wide = (torch.from_numpy(array.astype(np.float64)) for array in (image, weight))
    wanted = F.conv2d(*wide, stride=stride, padding=1, groups=channels).permute(0, 2, 3, 1).numpy()
    for found in by_tiles(compute.depthwise_conv2d, arrays, position, window=window):
        np.testing.assert_allclose(found, wanted, **exact(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@given(
    lead=st.sampled_from([(1,), (6,), (2, 5)]),
    inputs=st.sampled_from([4, 10, 32]),
    out=st.sampled_from([3, 8, 20]),
    position=st.integers(1, 999),
)
@FEWER
def test_a_dense_layer_is_right_by_any_tile(dtype, lead, inputs, out, position):
    x, weight = values(dtype, *lead, inputs), values(dtype, inputs, out)
    packed = pack.pack_dense(weight, whole(out), VECTOR if dtype == "int8" else 1)
    wanted = x.astype(np.float64) @ weight.astype(np.float64)
    for found in by_tiles(compute.dense, [x, packed], position, channels=out):
        np.testing.assert_allclose(found, wanted, **exact(dtype))


@pytest.mark.slow
@given(
    lead=st.sampled_from([(2,), (1, 3)]),
    rows=st.sampled_from([1, 5, 8]),
    columns=st.sampled_from([4, 7, 16]),
    position=st.integers(1, 999),
)
@FEWER
def test_a_product_of_activations_is_right_by_any_tile(lead, rows, columns, position):
    a, b = values("float32", *lead, rows, 12), values("float32", *lead, 12, columns)
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    for found in by_tiles(compute.batched_matmul, [a, b], position):
        np.testing.assert_allclose(found, wanted, **exact("float32"))
