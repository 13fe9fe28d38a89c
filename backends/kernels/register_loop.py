"""A loop that multiplies and adds in registers alone, one independent sum in each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm.script import tirx as T
from tvm.tirx import Expr, PrimFunc


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction's worth: `sums` (dtype and lanes) become `add(sums, a, b)`.

    `macs_count` is the multiply-adds that it does; `llvm` is text of functions that it calls.
    """

    dtype: str
    lanes: int
    macs_count: int
    add: Callable[[Expr, Expr, Expr], Expr]
    llvm: str = ""


def register_loop(step: Step, threads: int, sums_count: int, steps: int) -> PrimFunc:
    """Start each of `threads` with `sums_count` vectors and add to each of them `steps` times."""
    lanes, width, dtype = step.lanes, sums_count * step.lanes, step.dtype
    vector = f"{dtype}x{lanes}"
    add, llvm = step.add, step.llvm

    @T.prim_func(s_tir=True)
    def main(
        start: T.Buffer((threads, width), dtype),
        operands: T.Buffer((2, lanes), dtype),
        result: T.Buffer((threads, width), dtype),
    ) -> None:
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        for thread in T.parallel(threads):
            with T.sblock("sums"):
                v = T.axis.spatial(threads, thread)
                T.reads(start[v, 0:width], operands[0:2, 0:lanes])
                T.writes(result[v, 0:width])
                sums = T.sblock_alloc_buffer((width,), dtype, scope="local")
                for i in T.unroll(sums_count):
                    sums[T.ramp(i * lanes, 1, lanes)] = start.vload([v, i * lanes], dtype=vector)
                with T.attr(0, "pragma_import_llvm", llvm):
                    for _ in T.serial(steps):
                        for i in T.unroll(sums_count):
                            sums[T.ramp(i * lanes, 1, lanes)] = add(
                                sums.vload([i * lanes], dtype=vector),
                                operands.vload([0, 0], dtype=vector),
                                operands.vload([1, 0], dtype=vector),
                            )
                for i in T.unroll(sums_count):
                    result[v, T.ramp(i * lanes, 1, lanes)] = sums.vload([i * lanes], dtype=vector)

    return main
