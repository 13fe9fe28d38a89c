"""Tensor intrinsics for 8-bit dot products.

Ours, because TVM's VNNI intrinsic is rejected by the LLVM that ships with it (`vpdpbusd` takes
64 × i8 operands there), and because these accumulate in a `local` buffer, which LLVM keeps in
registers.

Each computes C[i] += sum_k A[k] * B[i, k] for `lanes` outputs i and 4 products k.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

VPDPBUSD_512 = "adaspring.vpdpbusd.512"
VPDPBUSD_256 = "adaspring.vpdpbusd.256"
SDOT = "adaspring.sdot"
# What LLVM calls the instruction of each.
INSTRUCTIONS = {
    VPDPBUSD_512: "llvm.x86.avx512.vpdpbusd.512",
    VPDPBUSD_256: "llvm.x86.avx512.vpdpbusd.256",
    SDOT: "llvm.aarch64.neon.sdot.v4i32.v16i8",
}


def _description(lanes: int, activation_dtype: str):
    @T.prim_func(s_tir=True)
    def description(
        A: T.Buffer((4,), activation_dtype, offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")

    return description


def _vpdpbusd(name: str, lanes: int):
    instruction = INSTRUCTIONS[name]
    sums, bytes_, weights = f"int32x{lanes}", f"uint8x{4 * lanes}", f"int8x{4 * lanes}"

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "uint8", offset_factor=1),
        B: T.Buffer((lanes, 4), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            four = T.reinterpret(A.vload([0], "uint8x4"), dtype="int32")
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=sums),
                T.reinterpret(T.broadcast(four, lanes), dtype=bytes_),
                B.vload([0, 0], dtype=weights),
                dtype=sums,
            )

    return implementation


def _sdot():
    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "int8", offset_factor=1),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            four = T.reinterpret(A.vload([0], "int8x4"), dtype="int32")
            C[T.ramp(T.int32(0), 1, 4)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(INSTRUCTIONS[SDOT]),
                C.vload([0], dtype="int32x4"),
                T.reinterpret(T.broadcast(four, 4), dtype="int8x16"),
                B.vload([0, 0], dtype="int8x16"),
                dtype="int32x4",
            )

    return implementation


# Made when asked for: TVM takes a tenth of a second to read each of these functions.
_MADE_BY = {
    VPDPBUSD_512: lambda: (_description(16, "uint8"), _vpdpbusd(VPDPBUSD_512, 16)),
    VPDPBUSD_256: lambda: (_description(8, "uint8"), _vpdpbusd(VPDPBUSD_256, 8)),
    SDOT: lambda: (_description(4, "int8"), _sdot()),
}


@cache
def register(name: str) -> None:
    """Make an intrinsic known to TVM, once."""
    TensorIntrin.register(name, *_MADE_BY[name]())
