"""The template for tensor cores: what it takes, and that each tile computes what the kernel says.

A processor runs its kernels, thread by thread, with asynchronous copies made as late as they may.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm import te
from tvm.s_tir.schedule import Trace
from tvm.target import Target
from tvm.tirx import PrimFunc

from adaspring import targets
from adaspring.backends.candidate_worker import build_candidate
from adaspring.backends.kernels import compute, pack
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.kernels.tensor_cores import OF_TYPE, SIDE
from adaspring.backends.kernels.window import Window
from adaspring.backends.schedule.contraction import new_schedule
from adaspring.backends.schedule.default import replay
from adaspring.backends.schedule.gpu import template_schedules
from adaspring.backends.schedule.gpu_product import WARP, Product, product_of, warp_tiles
from adaspring.backends.schedule.gpu_tensor_cores import schedule_tensor_cores

from ...support.cuda_on_cpu.source import as_source, on_this_host
from ...support.kernels import FEW, values, whole
from ...support.opencl import run_python

BOARD = on_this_host(targets.find("jetson-orin"))
ISA = instruction_set(BOARD)
TARGET = Target(dict(BOARD.target))
RUN = """
import os
from pathlib import Path
import numpy as np
import tvm
from adaspring.tests.support.cuda_on_cpu import device
folder = Path(os.environ["FOLDER"])
device.start(folder)
for code in sorted(folder.glob("case*.so")):
    with np.load(code.with_suffix(".npz")) as stored:
        *given, result = (tvm.runtime.tensor(stored[key], tvm.cuda(0)) for key in stored.files)
    tvm.runtime.load_module(str(code))["main"](*given, result)
    np.save(code.with_suffix(".npy"), result.numpy())
"""
TILES = 3
"""That each case is run by: the first, and others far down."""


@given(
    dtype=st.sampled_from(sorted(OF_TYPE)),
    rows=st.integers(8, 20_000),
    columns=st.integers(1, 2_000),
    taps=st.sampled_from([1, 9, 49]),
    channels=st.integers(1, 2_000),
)
@FEW
def test_every_tile_keeps_the_limits_of_a_block(dtype, rows, columns, taps, channels):
    product = Product(OF_TYPE[dtype], rows, columns, taps, channels)
    tiles = warp_tiles(product)
    assert tiles
    for tile in tiles:
        assert tile.shared_bytes(product) <= 48 * 2**10
        assert WARP * tile.warps <= 1024
        assert tile.rows * tile.columns <= 8
        assert tile.stages <= product.steps(SIDE * tile.depth)


class Case:
    """A kernel, what it is given and what is wanted."""

    def __init__(self, kernel, arrays: Sequence[np.ndarray], wanted: np.ndarray, **attributes):
        self.arrays, self.wanted = list(arrays), wanted
        inputs = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
        self.output = kernel(*inputs, **attributes)
        function = te.create_prim_func([*inputs, self.output])
        self.function: PrimFunc = function.with_attr("global_symbol", "main")

    def schedules(self):
        """By the first tile and by others."""
        product = product_of(new_schedule(self.function))
        assert product is not None
        tiles = warp_tiles(product)
        for tile in itertools.islice(tiles, 0, None, -(-len(tiles) // TILES)):
            sch = new_schedule(self.function)
            schedule_tensor_cores(sch, tile)
            yield tile, sch


def convolution(dtype, into, out, size, kernel, stride, padding, batch=1) -> Case:
    image, weight = values(dtype, batch, into, *size), values(dtype, out, into, kernel, kernel)
    packed = pack.pack_conv2d(weight, whole(out), 4 if dtype == "int8" else 1)
    arrays = [np.ascontiguousarray(image.transpose(0, 2, 3, 1)), packed]
    if dtype == "int8":
        zero = -3
        image = np.pad(image, [(0, 0), (0, 0), *[(padding, padding)] * 2], constant_values=zero)
        padded, arrays = 0, [*arrays, np.array(zero, np.int8)]
    else:
        padded = padding
    wide = (torch.from_numpy(array.astype(np.float64)) for array in (image, weight))
    wanted = F.conv2d(*wide, stride=stride, padding=padded).permute(0, 2, 3, 1).numpy()
    window = Window(strides=(stride, stride), padding=(padding,) * 4, dilation=(1, 1))
    return Case(compute.conv2d, arrays, wanted, window=window, channels=out)


def dense(dtype, lead, inputs, out) -> Case:
    x, weight = values(dtype, *lead, inputs), values(dtype, inputs, out)
    packed = pack.pack_dense(weight, whole(out), 4 if dtype == "int8" else 1)
    return Case(compute.dense, [x, packed], x.astype(np.float64) @ weight, channels=out)


def cases(dtype: str) -> list[Case]:
    return [
        convolution(dtype, 3, 20, (9, 12), kernel=3, stride=1, padding=1),
        convolution(dtype, 16, 24, (7, 7), kernel=3, stride=2, padding=1, batch=2),
        convolution(dtype, 24, 10, (8, 8), kernel=1, stride=1, padding=0),
        convolution(dtype, 40, 16, (5, 9), kernel=3, stride=1, padding=1),
        dense(dtype, (17,), 64, 33),
        dense(dtype, (2, 9), 30, 8),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_contraction_is_right_by_any_tile(dtype, tmp_path):
    known = cases(dtype)
    ran = []
    with as_source():
        for number, case in enumerate(known):
            result = np.full([int(e) for e in case.output.shape], 77, str(case.output.dtype))
            for tile, sch in case.schedules():
                code = tmp_path / f"case{number}-{len(ran)}.so"
                target = json.dumps(dict(BOARD.target)), BOARD.architecture
                code.write_bytes(build_candidate(tvm.ir.save_json(sch.mod), *target).code)
                np.savez(code.with_suffix(".npz"), *case.arrays, result)
                ran.append((case, tile, code))
    assert len(ran) > len(known)
    done = run_python(RUN, FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stderr
    exact = {"rtol": 0, "atol": 0} if dtype == "int8" else {"rtol": 1e-4, "atol": 1e-3}
    for case, tile, code in ran:
        found = np.load(code.with_suffix(".npy"))
        np.testing.assert_allclose(found, case.wanted, **exact, err_msg=str(tile))


def test_a_record_gives_the_same_schedule_again():
    case = dense("float16", (32,), 64, 32)
    sch = next(template_schedules(case.function, ISA, TARGET))
    trace = Trace(sch.trace.insts, sch.trace.decisions)
    again = replay(case.function, trace)
    tvm.ir.assert_structural_equal(again.mod, sch.mod)


@pytest.mark.parametrize(
    ("dtype", "lead", "inputs"), [("float32", (32,), 64), ("float16", (4,), 64)]
)
def test_what_has_no_core_or_few_rows_is_left_to_other_templates(dtype, lead, inputs):
    assert product_of(new_schedule(dense(dtype, lead, inputs, 32).function)) is None


def test_groups_are_no_product():
    image, weight = values("float16", 1, 8, 8, 16), values("float16", 16, 8, 3, 3)
    window = Window(strides=(1, 1), padding=(1,) * 4, dilation=(1, 1))
    packed = pack.pack_conv2d(weight, 8, 1)
    case = Case(compute.conv2d, [image, packed], image, window=window, channels=16, groups=2)
    assert product_of(new_schedule(case.function)) is None
