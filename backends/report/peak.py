"""What a processor can do at most: multiply-adds in registers alone, on the board's threads.

Each thread keeps as many independent sums as there are registers for them, which hides the latency
of the instruction; every step feeds a sum into the next, so nothing can be folded or left out.

`python -m adaspring.backends.report.peak BOARD.json` prints `measure` of the board in that file as
JSON: a process of its own, so that an app's side measures it without loading the compiler.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tvm
from tvm import IRModule
from tvm.script import tirx as T
from tvm.target import Target, codegen
from tvm.tirx import Expr

from ...library.manifest import BoardRecord
from ..kernels import intrinsics
from ..kernels.isa import InstructionSet, instruction_set
from ..kernels.register_loop import Step, register_loop
from ..tvm_threads import use_threads

DTYPES = ("float32", "int8")
"""What every CPU multiplies; `dtypes` adds bfloat16 where there is an instruction."""
# Sums are neither subnormal nor infinite, which would run at another speed: 0.5 x + 1 stays near 2,
# and x + 2 · 1 grows by each of the steps; two bfloat16 of 1 are one float32.
_OPERANDS: dict[str, np.ndarray] = {
    "float32": np.array([[0.5], [1.0]]),
    "int8": np.array([[3], [5]]),
    "bfloat16": np.array([[0x3F803F80]] * 2, np.uint32).view(np.float32),
}
_STEPS = 200_000
# The types take turns, so that a busy moment of the machine falls on each.
_ROUNDS = 6
_REPEATS = 10
# Registers left to what the sums are multiplied by, and to the loop.
_SPARE_REGISTERS = 4


@dataclass(frozen=True, kw_only=True)
class PeakLoop:
    """A loop that is built; one run does `operations_count`, two for each multiply-add."""

    module: Any
    arguments: tuple[Any, ...]
    operations_count: int

    def gops(self, repeats: int) -> list[float]:
        """1e9 operations a second of each of several runs, on this thread's TVM threads."""
        timer = self.module.time_evaluator("main", tvm.cpu(), number=1, repeat=repeats)
        return [1e-9 * self.operations_count / s for s in timer(*self.arguments).results]


def measure(board: BoardRecord) -> dict[str, float]:
    """1e9 operations a second by the type that is multiplied: the fastest of many runs here."""
    use_threads(board.thread_count, board.affinity)
    loops = {dtype: peak_loop(board, dtype) for dtype in dtypes(board)}
    best = dict.fromkeys(loops, 0.0)
    for _ in range(_ROUNDS):
        for dtype, loop in loops.items():
            best[dtype] = max(best[dtype], *loop.gops(_REPEATS))
    return best


def dtypes(board: BoardRecord) -> tuple[str, ...]:
    """The types that a CPU board has instructions to multiply and add."""
    return (*DTYPES, *(["bfloat16"] if instruction_set(board).bfloat16 else []))


def peak_loop(board: BoardRecord, dtype: str) -> PeakLoop:
    """Build the loop that multiplies and adds `dtype`, one of `dtypes`, on a CPU board."""
    step = _step(board, dtype)
    sums_count = instruction_set(board).register_count - _SPARE_REGISTERS
    threads = board.thread_count
    function = register_loop(step, threads, sums_count, _STEPS)
    function = function.with_attr("global_symbol", "main")
    module = tvm.compile(IRModule({"main": function}), target=Target(dict(board.target)))
    shape = (threads, sums_count * step.lanes)
    operands = np.repeat(_OPERANDS[dtype], step.lanes, axis=1)
    arguments = (np.ones(shape), operands, np.zeros(shape))
    return PeakLoop(
        module=module.mod,
        arguments=tuple(tvm.runtime.tensor(a.astype(step.dtype)) for a in arguments),
        operations_count=2 * step.macs_count * sums_count * _STEPS * threads,
    )


def _step(board: BoardRecord, dtype: str) -> Step:
    isa = instruction_set(board)
    if dtype == "float32":
        lanes = isa.float_lanes
        return Step(dtype=dtype, lanes=lanes, macs_count=lanes, add=lambda s, a, b: s * a + b)
    if dtype == "bfloat16":
        return _pairs_step(isa)
    lanes = isa.int8.lanes
    if isa.int8.intrinsic is not None and isa.int8.depth == 4:
        name = intrinsics.INSTRUCTIONS[isa.int8.intrinsic]
        signs = ("uint8", "int8") if isa.int8.activation_dtype == "uint8" else ("int8", "int8")

        def dot(sums: Expr, a: Expr, b: Expr) -> Expr:
            left, right = (
                T.reinterpret(value, dtype=f"{sign}x{4 * lanes}")
                for value, sign in zip((a, b), signs, strict=True)
            )
            return _intrinsic(name, sums, left, right)

        return Step(dtype="int32", lanes=lanes, macs_count=4 * lanes, add=dot)
    if board.architecture == "x86_64":
        lanes, name = _pmaddwd(board)

        def pairs(sums: Expr, a: Expr, b: Expr) -> Expr:
            halves = (T.reinterpret(value, dtype=f"int16x{2 * lanes}") for value in (sums, a))
            return b + _intrinsic(name, *halves, dtype=f"int32x{lanes}")

        return Step(dtype="int32", lanes=lanes, macs_count=2 * lanes, add=pairs)
    return Step(dtype="int32", lanes=lanes, macs_count=lanes, add=lambda s, a, b: s * a + b)


def _pairs_step(isa: InstructionSet) -> Step:
    """Pairs of bfloat16, by the instruction that there is."""
    assert isa.bfloat16 is not None
    assert isa.bfloat16.intrinsic is not None
    lanes = isa.bfloat16.lanes
    function, llvm = intrinsics.bfloat16_dot(isa.bfloat16.intrinsic, lanes)

    def dot(sums: Expr, a: Expr, b: Expr) -> Expr:
        bits = (T.reinterpret(value, dtype=f"int32x{lanes}") for value in (a, b))
        return T.call_pure_extern(f"float32x{lanes}", function, sums, *bits)

    return Step(dtype="float32", lanes=lanes, macs_count=2 * lanes, add=dot, llvm=llvm)


def _pmaddwd(board: BoardRecord) -> tuple[int, str]:
    """The 16-bit multiply-add of pairs: 32-bit lanes, LLVM's name. x86-64 has it at least of 4."""
    target = Target(dict(board.target))
    for feature, lanes, name in _PMADDWD:
        if codegen.llvm_cpu_has_features([feature], target):
            return lanes, name
    raise AssertionError("every x86-64 has SSE2")


_PMADDWD = (
    ("avx512bw", 16, "llvm.x86.avx512.pmaddw.d.512"),
    ("avx2", 8, "llvm.x86.avx2.pmadd.wd"),
    ("sse2", 4, "llvm.x86.sse2.pmadd.wd"),
)


def _intrinsic(name: str, *operands: Expr, dtype: str = "") -> Expr:
    return T.call_llvm_pure_intrin(
        T.llvm_lookup_intrinsic_id(name), *operands, dtype=dtype or str(operands[0].ty.dtype)
    )


if __name__ == "__main__":
    record = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=BoardRecord)
    print(json.dumps(measure(record)))
