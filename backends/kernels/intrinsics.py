"""Tensor intrinsics for dot products of 8-bit and of bfloat16 values.

Ours, because TVM's VNNI intrinsic is rejected by the LLVM that ships with it (`vpdpbusd` takes
64 × i8 operands there), and because these accumulate in a `local` buffer, which LLVM keeps in
registers. TVM has no bfloat16 of LLVM's: its code is given bits (uint16), and the instruction
stands in a function of LLVM's own text, which is inlined.

Each computes C[i] += sum_k A[k] * B[i, k] for `lanes` outputs i and `depth` products k: 4 of
8 bits, summed in int32, or 2 of bfloat16, summed in float32. `vpmaddwd` takes 2 of 16 bits: kernels
widen activations ahead, and weights as they are read (`vpmaddubsw`, of 8 bits, saturates).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T
from tvm.tirx import Expr

from .sixteen_bit import BITS, float32_of

VPDPBUSD_512 = "adaspring.vpdpbusd.512"
VPDPBUSD_256 = "adaspring.vpdpbusd.256"
VPMADDWD_512 = "adaspring.vpmaddwd.512"
VPMADDWD_256 = "adaspring.vpmaddwd.256"
SDOT = "adaspring.sdot"
VDPBF16PS_512 = "adaspring.vdpbf16ps.512"
BFDOT = "adaspring.bfdot"
# For a thread of a GPU, which has what it multiplies in registers.
OPENCL_DOT = "adaspring.opencl.dot"
DP4A = "adaspring.dp4a"
OPENCL_DOT_FUNCTION = "adaspring_dot"
"""A function of the OpenCL runtime's, by what a device has (`library/opencl/prelude.h`)."""
# What LLVM calls the instruction of each.
INSTRUCTIONS = {
    VPDPBUSD_512: "llvm.x86.avx512.vpdpbusd.512",
    VPDPBUSD_256: "llvm.x86.avx512.vpdpbusd.256",
    VPMADDWD_512: "llvm.x86.avx512.pmaddw.d.512",
    VPMADDWD_256: "llvm.x86.avx2.pmadd.wd",
    SDOT: "llvm.aarch64.neon.sdot.v4i32.v16i8",
    VDPBF16PS_512: "llvm.x86.avx512bf16.dpbf16ps.512",
    BFDOT: "llvm.aarch64.neon.bfdot.v4f32.v8bf16",
}


def _description(
    lanes: int,
    depth: int,
    read: tuple[str, str],
    summed: str,
    to_sum: Callable[[Expr], Expr],
    scope: str = "global",
):
    """What an intrinsic does to activations and weights that are `read`, for TVM to find."""
    activation, weight = read

    @T.prim_func(s_tir=True)
    def description(
        A: T.Buffer((depth,), activation, offset_factor=1, scope=scope),
        B: T.Buffer((lanes, depth), weight, offset_factor=1),
        C: T.Buffer((lanes,), summed, offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:depth], B[0:lanes, 0:depth])
            T.writes(C[0:lanes])
            for i, k in T.grid(lanes, depth):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + to_sum(A[vk]) * to_sum(B[vi, vk])

    return description


def _bytes_description(lanes: int, activation: str, depth: int = 4, scope: str = "global"):
    def to_sum(value: Expr) -> Expr:
        return T.cast(value, "int32")

    return _description(lanes, depth, (activation, "int8"), "int32", to_sum, scope)


def _pairs_description(lanes: int):
    return _description(lanes, 2, (BITS, BITS), "float32", lambda value: float32_of(value, BITS))


def _repeated(values: Expr, times: int, dtype: str) -> Expr:
    """Give the 32 bits of `values` in each lane.

    An expression alone: what TVMScript binds to a name is a buffer, which would lie in memory.
    """
    once = T.reinterpret(values, dtype="int32")
    every = T.broadcast(once, times)
    return every if dtype == f"int32x{times}" else T.reinterpret(every, dtype=dtype)


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
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                C.vload([0], dtype=sums),
                _repeated(A.vload([0], "uint8x4"), lanes, bytes_),
                B.vload([0, 0], dtype=weights),
                dtype=sums,
            )

    return implementation


def _vpmaddwd(name: str, lanes: int):
    instruction = INSTRUCTIONS[name]
    sums, words, weights = f"int32x{lanes}", f"int16x{2 * lanes}", f"int8x{2 * lanes}"

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((2,), "int16", offset_factor=1),
        B: T.Buffer((lanes, 2), "int8", offset_factor=1),
        C: T.Buffer((lanes,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:2], B[0:lanes, 0:2])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=sums) + T.call_llvm_pure_intrin(
                T.llvm_lookup_intrinsic_id(instruction),
                _repeated(A.vload([0], "int16x2"), lanes, words),
                T.cast(B.vload([0, 0], dtype=weights), words),
                dtype=sums,
            )

    return implementation


def _four_lanes(scope: str, add: Callable[[Expr, Expr, Expr], Expr]):
    """By what adds to four sums the products of four bytes with four of each; A lies in `scope`."""

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "int8", offset_factor=1, scope=scope),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            C[T.ramp(T.int32(0), 1, 4)] = add(
                C.vload([0], dtype="int32x4"),
                A.vload([0], dtype="int8x4"),
                B.vload([0, 0], dtype="int8x16"),
            )

    return implementation


def _sdot(sums: Expr, four: Expr, weights: Expr) -> Expr:
    return T.call_llvm_pure_intrin(
        T.llvm_lookup_intrinsic_id(INSTRUCTIONS[SDOT]),
        sums,
        _repeated(four, 4, "int8x16"),
        weights,
        dtype="int32x4",
    )


def _opencl_dot(sums: Expr, four: Expr, weights: Expr) -> Expr:
    return T.call_pure_extern("int32x4", OPENCL_DOT_FUNCTION, sums, four, weights)


def _dp4a():
    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((4,), "int8", offset_factor=1, scope="local"),
        B: T.Buffer((4, 4), "int8", offset_factor=1),
        C: T.Buffer((4,), "int32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:4], A[0:4], B[0:4, 0:4])
            T.writes(C[0:4])
            for i in T.unroll(4):
                C[i] = T.call_pure_extern(
                    "int32",
                    "__dp4a",
                    T.reinterpret(A.vload([0], dtype="int8x4"), dtype="int32"),
                    T.reinterpret(B.vload([i, 0], dtype="int8x4"), dtype="int32"),
                    C[i],
                )

    return implementation


def bfloat16_dot(name: str, lanes: int) -> tuple[str, str]:
    """Give a function around the instruction, on bits as int32: its name and its LLVM text."""
    function = name.replace(".", "_")
    sums, bits, halves = f"<{lanes} x float>", f"<{lanes} x i32>", f"<{2 * lanes} x bfloat>"
    return (
        function,
        f"""
declare {sums} @{INSTRUCTIONS[name]}({sums}, {halves}, {halves})
define {sums} @{function}({sums} %sums, {bits} %a, {bits} %b) alwaysinline {{
  %x = bitcast {bits} %a to {halves}
  %y = bitcast {bits} %b to {halves}
  %result = call {sums} @{INSTRUCTIONS[name]}({sums} %sums, {halves} %x, {halves} %y)
  ret {sums} %result
}}
""",
    )


def _pairs(name: str, lanes: int):
    function, text = bfloat16_dot(name, lanes)
    sums = f"float32x{lanes}"

    @T.prim_func(s_tir=True)
    def implementation(
        A: T.Buffer((2,), "uint16", offset_factor=1),
        B: T.Buffer((lanes, 2), "uint16", offset_factor=1),
        C: T.Buffer((lanes,), "float32", offset_factor=1, scope="local"),
    ) -> None:
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:2], B[0:lanes, 0:2])
            T.writes(C[0:lanes])
            with T.attr(0, "pragma_import_llvm", text):
                C[T.ramp(T.int32(0), 1, lanes)] = T.call_pure_extern(
                    sums,
                    function,
                    C.vload([0], dtype=sums),
                    _repeated(A.vload([0], "uint16x2"), lanes, f"int32x{lanes}"),
                    T.reinterpret(
                        B.vload([0, 0], dtype=f"uint16x{2 * lanes}"), dtype=f"int32x{lanes}"
                    ),
                )

    return implementation


# Made when asked for: TVM takes a tenth of a second to read each of these functions.
_MADE_BY = {
    VPDPBUSD_512: lambda: (_bytes_description(16, "uint8"), _vpdpbusd(VPDPBUSD_512, 16)),
    VPDPBUSD_256: lambda: (_bytes_description(8, "uint8"), _vpdpbusd(VPDPBUSD_256, 8)),
    VPMADDWD_512: lambda: (_bytes_description(16, "int16", 2), _vpmaddwd(VPMADDWD_512, 16)),
    VPMADDWD_256: lambda: (_bytes_description(8, "int16", 2), _vpmaddwd(VPMADDWD_256, 8)),
    SDOT: lambda: (_bytes_description(4, "int8"), _four_lanes("global", _sdot)),
    VDPBF16PS_512: lambda: (_pairs_description(16), _pairs(VDPBF16PS_512, 16)),
    BFDOT: lambda: (_pairs_description(4), _pairs(BFDOT, 4)),
    OPENCL_DOT: lambda: (
        _bytes_description(4, "int8", scope="local"),
        _four_lanes("local", _opencl_dot),
    ),
    DP4A: lambda: (_bytes_description(4, "int8", scope="local"), _dp4a()),
}


@cache
def register(name: str) -> None:
    """Make an intrinsic known to TVM, once."""
    TensorIntrin.register(name, *_MADE_BY[name]())
