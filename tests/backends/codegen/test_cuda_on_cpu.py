"""CUDA kernels on a processor compute what a GPU would; what a GPU leaves undefined is noticed."""

from __future__ import annotations

import ctypes
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from ...support.cuda_on_cpu.compiled import load_source

X, BX = ("threadIdx.x",), ("blockIdx.x", "threadIdx.x")
RANDOM = np.random.default_rng(0)
LANES = np.arange(32)


def kernel(arguments: str, body: str, name: str = "planted", before: str = "") -> str:
    return f'{before}\nextern "C" __global__ void {name}({arguments}) {{ {body} }}\n'


def load(folder: Path, source: str, axes=X, name: str = "planted", header: str = "cuda.h"):
    return load_source(f"#include <cuda.h>\n#include <{header}>\n{source}", {name: axes}, folder)[
        name
    ]


def data(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


REVERSED = kernel(
    "int* y, const int* x",
    "__shared__ alignas(64) int block[64]; block[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];"
    "__syncthreads(); y[blockIdx.x * 64 + threadIdx.x] = block[63 - threadIdx.x];",
)


def run_reversed(folder: Path, source: str) -> np.ndarray:
    x = np.arange(192, dtype=np.int32)
    y = np.zeros_like(x)
    load(folder, source, BX)(data(y), data(x), 3, 64)
    return y.reshape(3, 64)[:, ::-1].ravel()


def test_threads_of_a_block_exchange_values_at_barriers(tmp_path):
    np.testing.assert_array_equal(run_reversed(tmp_path, REVERSED), np.arange(192))


def test_a_kernel_that_lacks_a_barrier_gives_other_values(tmp_path):
    wrong = run_reversed(tmp_path, REVERSED.replace("__syncthreads();", ""))
    assert (wrong != np.arange(192)).any()


def test_shared_memory_that_nobody_wrote_is_nan(tmp_path):
    body = "__shared__ float block[64]; y[threadIdx.x] = block[threadIdx.x];"
    y = np.zeros(64, np.float32)
    load(tmp_path, kernel("float* y", body))(data(y), 64)
    assert np.isnan(y).all()


def test_dynamic_shared_memory_is_each_blocks_own(tmp_path):
    body = (
        "extern __shared__ __align__(64) unsigned char buf_dyn_shmem_ptr[];"
        "float* block = (float*)buf_dyn_shmem_ptr; y[2 * blockIdx.x + threadIdx.x] = block[1];"
        "__syncthreads(); block[threadIdx.x] = 1;"
    )
    y = np.zeros(4, np.float32)
    axes = (*BX, "tirx.use_dyn_shared_memory")
    load(tmp_path, kernel("float* y", body), axes)(data(y), 2, 2, 8)
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("if (threadIdx.x < 7) __syncthreads();", "ended, .* waits at a barrier"),
        (
            "if (threadIdx.x < 7) __syncthreads();\nelse __syncthreads();",
            "waits at the barrier of line",
        ),
        ("__shared__ int block[63]; block[threadIdx.x] = 0;", "beside an array"),
        ("int own[4]; y[0] = own[threadIdx.x];", "beside an array"),
        ("if (threadIdx.x < 7) __syncwarp(); else __syncthreads();", "lanes of its warp"),
        ("__shfl_sync(1u, 1, 0);", "lanes of its warp"),
    ],
)
def test_what_a_thread_must_not_do_is_an_error_with_the_kernels_name(tmp_path, body, fault):
    y = np.zeros(64, np.int32)
    wrong = load(tmp_path, kernel("volatile int* y", body))
    with pytest.raises(RuntimeError, match=rf"planted: thread \(\d+, 0, 0\).*{fault}"):
        wrong(data(y), 64)


def test_kernels_run_after_one_that_failed(tmp_path):
    wrong = load(tmp_path, kernel("int* y", "if (threadIdx.x) __syncthreads();"))
    with pytest.raises(RuntimeError):
        wrong(data(np.zeros(1, np.int32)), 64)
    np.testing.assert_array_equal(run_reversed(tmp_path, REVERSED), np.arange(192))


def segment(width: int) -> np.ndarray:
    return LANES & ~(width - 1)


SHUFFLES = {
    "__shfl_sync": lambda by, width: segment(width) + by % width,
    "__shfl_up_sync": lambda by, width: np.where(LANES - by < segment(width), LANES, LANES - by),
    "__shfl_down_sync": lambda by, width: np.where(
        LANES + by >= segment(width) + width, LANES, LANES + by
    ),
    "__shfl_xor_sync": lambda by, width: np.where(
        (LANES ^ by) >= segment(width) + width, LANES, LANES ^ by
    ),
}


@pytest.mark.parametrize("name", SHUFFLES)
def test_a_shuffle_takes_each_value_from_the_lane_that_cuda_says(tmp_path, name):
    body = f"y[threadIdx.x] = {name}(0xffffffffu, x[threadIdx.x], by, width);"
    shuffle = load(tmp_path, kernel("double* y, const double* x, int by, int width", body))
    x, y = RANDOM.standard_normal(64), np.zeros(64)
    for by, width in ((0, 32), (1, 32), (5, 8), (3, 4), (16, 32)):
        shuffle(data(y), data(x), by, width, 64)
        taken = SHUFFLES[name](by, width)
        np.testing.assert_array_equal(y, [*x[taken], *x[32 + taken]])


def test_a_lane_that_takes_no_part_gives_no_value(tmp_path):
    body = "y[threadIdx.x] = __shfl_down_sync(__activemask(), 1.0f, 4, 32);"
    y = np.zeros(8, np.float32)
    load(tmp_path, kernel("float* y", body))(data(y), 8)
    np.testing.assert_array_equal(y, [1, 1, 1, 1, *4 * [np.nan]])


def test_the_active_mask_has_the_lanes_of_a_branch(tmp_path):
    body = "if (threadIdx.x % 3 == 0) y[threadIdx.x] = __activemask();"
    y = np.zeros(32, np.uint32)
    load(tmp_path, kernel("unsigned* y", body))(data(y), 32)
    np.testing.assert_array_equal(y, np.where(LANES % 3 == 0, sum(1 << i for i in LANES[::3]), 0))


@pytest.mark.parametrize(("a", "b"), [("i1", "i1"), ("u1", "u1"), ("u1", "i1"), ("i1", "u1")])
def test_dp4a_adds_four_products_of_bytes(tmp_path, a, b):
    words = {"i1": "int", "u1": "unsigned"}
    body = "y[threadIdx.x] = __dp4a(a[threadIdx.x], b[threadIdx.x], y[threadIdx.x]);"
    arguments = f"int* y, const {words[a]}* a, const {words[b]}* b"
    left, right = (RANDOM.integers(0, 256, (32, 4), np.uint8).view(code) for code in (a, b))
    y = RANDOM.integers(-1000, 1000, 32, np.int32)
    wanted = y + np.sum(left.astype(np.int32) * right, axis=1)
    load(tmp_path, kernel(arguments, body))(data(y), data(left), data(right), 32)
    np.testing.assert_array_equal(y, wanted)


PRODUCT = """
using namespace nvcuda::wmma;
fragment<matrix_a, 16, 16, 16, In, row_major> left;
fragment<matrix_b, 16, 16, 16, In, col_major> right;
fragment<accumulator, 16, 16, 16, Sum> sum;
fill_fragment(sum, 0);
for (int k = 0; k < 2; ++k) {
  load_matrix_sync(left, a + 16 * k, 32);
  load_matrix_sync(right, b + 16 * k, 32);
  mma_sync(sum, left, right, sum);
}
store_matrix_sync(c, sum, 16, mem_row_major);
"""
PRODUCTS = [
    ("half", "float", np.float16, np.float32, 1e-6),
    ("half", "half", np.float16, np.float16, 2e-3),
    ("nv_bfloat16", "float", ml_dtypes.bfloat16, np.float32, 1e-6),
    ("signed char", "int", np.int8, np.int32, 0),
    ("unsigned char", "int", np.uint8, np.int32, 0),
]


@pytest.mark.parametrize(("read", "summed", "read_as", "summed_as", "tolerance"), PRODUCTS)
def test_tensor_cores_multiply_matrices(tmp_path, read, summed, read_as, summed_as, tolerance):
    headers = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n"
    before = f"{headers}using In = {read}; using Sum = {summed};"
    source = kernel("In* a, In* b, Sum* c", PRODUCT, before=before)
    a, b = RANDOM.integers(0, 10, (2, 16, 32)).astype(read_as)
    c = np.zeros((16, 16), summed_as)
    load(tmp_path, source, header="mma.h")(data(a), data(b), data(c), 32)
    wanted = a.astype(np.float64) @ b.astype(np.float64).T
    np.testing.assert_allclose(c.astype(np.float64), wanted, rtol=tolerance)


def test_tensor_cores_want_a_whole_warp(tmp_path):
    source = kernel("half* a, half* b, float* c", PRODUCT, before=(
        "#include <cuda_fp16.h>\nusing In = half; using Sum = float;"
    ))  # fmt: skip
    a = np.zeros((16, 32), np.float16)
    with pytest.raises(RuntimeError, match="all 32 lanes"):
        load(tmp_path, source, header="mma.h")(data(a), data(a), data(np.zeros(256)), 16)


@pytest.mark.parametrize(
    ("name", "header", "dtype"),
    [("half", "cuda_fp16.h", np.float16), ("nv_bfloat16", "cuda_bf16.h", ml_dtypes.bfloat16)],
)
def test_arithmetic_of_16_bits_rounds_as_numpys(tmp_path, name, header, dtype):
    body = "int i = threadIdx.x; y[i] = a[i] * b[i] + c[i] / b[i] - half(0.1f);"
    arguments = "half* y, half* a, half* b, half* c".replace("half", name)
    source = kernel(arguments, body.replace("half", name))
    a, b, c = RANDOM.standard_normal((3, 1000)).astype(dtype)
    y = np.zeros_like(a)
    load(tmp_path, source, header=header)(data(y), data(a), data(b), data(c), 1000)
    np.testing.assert_array_equal(y, a * b + c / b - dtype(0.1))
