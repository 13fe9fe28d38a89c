"""Tensor intrinsics for the tensor cores of NVIDIA's GPUs: a warp multiplies tiles of 16 x 16.

TVM's own of the same kind take two minutes to be imported, with all that stand beside them.

Source  CUDA C++ Programming Guide, "Warp matrix functions" (nvcuda::wmma).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

SIDE = 16
"""Of a tile: rows, columns, and what is summed at once."""
STAGED = "shared.dyn"
"""Where tiles are read from."""
WRITTEN = "shared"
"""Where sums are written to. Were it the same, TVM would let sums overlay what is read as another
type, and then refuse it."""
SUMS = "wmma.accumulator"


@dataclass(frozen=True)
class TensorCore:
    """What is multiplied, and in which type it is summed.

    `transposed`: the second factor lies by columns, (n, k), and not by rows, (k, n).
    """

    read: str
    summed: str
    transposed: bool

    def name(self, step: str) -> str:
        """What TVM knows an intrinsic by: "load_a", "load_b", "fill", "multiply" or "store"."""
        return f"adaspring.wmma.{self.read}.{step}"


OF_TYPE = {
    "float16": TensorCore("float16", "float32", transposed=False),
    "int8": TensorCore("int8", "int32", transposed=True),
}
"""By the type of packed weights; 8 bits are packed four input channels innermost."""


@cache
def register() -> None:
    """Make the intrinsics known to TVM, once."""
    for core in OF_TYPE.values():
        second = "col_major" if core.transposed else "row_major"
        for step, (description, implementation) in {
            "load_a": _load(core.read, "wmma.matrix_a", "row_major"),
            "load_b": _load(core.read, "wmma.matrix_b", second),
            "fill": _fill(core.summed),
            "multiply": _multiply(core),
            "store": _store(core.summed),
        }.items():
            TensorIntrin.register(core.name(step), description, implementation)


def _index(tile, stride):
    """Which of the fragments of a warp a tile is."""
    row, column = tile.elem_offset // stride // SIDE, tile.elem_offset % stride // SIDE
    return row * (stride // SIDE) + column


def _copy(dtype: str, source: str, target: str):
    """What a load or a store does, for TVM to find."""

    @T.prim_func(s_tir=True)
    def description(a: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=source)
        C = T.match_buffer(c, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=target)
        with T.sblock("root"):
            T.reads(A[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            for i, j in T.grid(SIDE, SIDE):
                with T.sblock("copy"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    C[vi, vj] = A[vi, vj]

    return description


def _copied_by(dtype: str, source: str, target: str, call: Callable):
    """A copy whose tiles lie at any strides, made by `call` (source, its stride, target, its)."""

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, c: T.handle) -> None:
        a1 = T.int32()
        a0 = T.int32()
        c1 = T.int32()
        c0 = T.int32()
        A = T.match_buffer(
            a, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=source, strides=[a1, a0]
        )
        C = T.match_buffer(
            c, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=target, strides=[c1, c0]
        )
        with T.sblock("root"):
            T.reads(A[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            T.evaluate(call(A, a1, C, c1))

    return _copy(dtype, source, target), implementation


def _load(dtype: str, target: str, layout: str):
    def call(a, a_stride, c, c_stride):
        place, pointer = _index(c, c_stride), a.access_ptr("r", ptr_type=dtype)
        return T.tvm_load_matrix_sync(
            c.data, SIDE, SIDE, SIDE, place, pointer, a_stride, layout, dtype="void"
        )

    return _copied_by(dtype, STAGED, target, call)


def _store(dtype: str):
    def call(a, a_stride, c, c_stride):
        place, pointer = _index(a, a_stride), c.access_ptr("w", ptr_type=dtype)
        return T.tvm_store_matrix_sync(
            a.data, SIDE, SIDE, SIDE, place, pointer, c_stride, "row_major", dtype="void"
        )

    return _copied_by(dtype, SUMS, WRITTEN, call)


def _fill(dtype: str):
    @T.prim_func(s_tir=True)
    def description(c: T.handle) -> None:
        C = T.match_buffer(c, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=SUMS)
        with T.sblock("root"):
            T.reads()
            T.writes(C[0:SIDE, 0:SIDE])
            for i, j in T.grid(SIDE, SIDE):
                with T.sblock("init"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    C[vi, vj] = T.cast(0, dtype)

    @T.prim_func(s_tir=True)
    def implementation(c: T.handle) -> None:
        c1 = T.int32()
        c0 = T.int32()
        C = T.match_buffer(
            c, (SIDE, SIDE), dtype, align=64, offset_factor=SIDE, scope=SUMS, strides=[c1, c0]
        )
        with T.sblock("root"):
            T.reads()
            T.writes(C[0:SIDE, 0:SIDE])
            T.evaluate(
                T.tvm_fill_fragment(
                    C.data, SIDE, SIDE, SIDE, _index(C, c1), T.float32(0), dtype="void"
                )
            )

    return description, implementation


def _multiply(core: TensorCore):
    read, summed = core.read, core.summed

    def place(k, n):
        return (n, k) if core.transposed else (k, n)

    @T.prim_func(s_tir=True)
    def description(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(
            a, (SIDE, SIDE), read, align=64, offset_factor=SIDE, scope="wmma.matrix_a"
        )
        B = T.match_buffer(
            b, (SIDE, SIDE), read, align=64, offset_factor=SIDE, scope="wmma.matrix_b"
        )
        C = T.match_buffer(c, (SIDE, SIDE), summed, align=64, offset_factor=SIDE, scope=SUMS)
        with T.sblock("root"):
            T.reads(C[0:SIDE, 0:SIDE], A[0:SIDE, 0:SIDE], B[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            for i, j, k in T.grid(SIDE, SIDE, SIDE):
                with T.sblock("update"):
                    vi, vj, vk = T.axis.remap("SSR", [i, j, k])
                    row, column = T.meta_var(place(vk, vj))
                    C[vi, vj] = C[vi, vj] + T.cast(A[vi, vk], summed) * T.cast(
                        B[row, column], summed
                    )

    @T.prim_func(s_tir=True)
    def implementation(a: T.handle, b: T.handle, c: T.handle) -> None:
        a1 = T.int32()
        a0 = T.int32()
        b1 = T.int32()
        b0 = T.int32()
        c1 = T.int32()
        c0 = T.int32()
        A = T.match_buffer(
            a,
            (SIDE, SIDE),
            read,
            align=64,
            offset_factor=SIDE,
            scope="wmma.matrix_a",
            strides=[a1, a0],
        )
        B = T.match_buffer(
            b,
            (SIDE, SIDE),
            read,
            align=64,
            offset_factor=SIDE,
            scope="wmma.matrix_b",
            strides=[b1, b0],
        )
        C = T.match_buffer(
            c, (SIDE, SIDE), summed, align=64, offset_factor=SIDE, scope=SUMS, strides=[c1, c0]
        )
        with T.sblock("root"):
            T.reads(C[0:SIDE, 0:SIDE], A[0:SIDE, 0:SIDE], B[0:SIDE, 0:SIDE])
            T.writes(C[0:SIDE, 0:SIDE])
            T.evaluate(
                T.tvm_mma_sync(
                    C.data,
                    _index(C, c1),
                    A.data,
                    _index(A, a1),
                    B.data,
                    _index(B, b1),
                    C.data,
                    _index(C, c1),
                    dtype="void",
                )
            )

    return description, implementation
