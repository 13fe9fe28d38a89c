"""What a CPU's kernel keeps in `local` buffers is on its stack, so that LLVM may use registers.

TVM would take such a buffer from a pool while the kernel runs, and LLVM cannot tell that nobody
else reads it: sums would be loaded and stored at each step.

Before  sums = alloc_buffer((16,), scope="local")
After   the same, to be left as it is by `LowerTVMBuiltin`
"""

from __future__ import annotations

import math

import tvm_ffi
from tvm import DataType, IRModule, tirx
from tvm.ir.prim.expr import IntImm
from tvm.tirx import AllocBuffer, PrimFunc

from .rewrite import is_for_cpu, map_functions

_MOST_BYTES = 8192  # more than any register file; a thread's stack has a hundred times that
_LEFT = "disable_lower_builtin"


def keep_in_registers(module: IRModule) -> IRModule:
    """Mark the small local buffers of lowered functions for a CPU."""

    def mark(function: PrimFunc) -> PrimFunc:
        if not is_for_cpu(function):
            return function
        return tvm_ffi.structural_map(function, ((AllocBuffer, _mark),))

    return map_functions(module, mark)


def _mark(allocation: AllocBuffer) -> AllocBuffer:
    buffer = allocation.buffer
    if buffer.scope() != "local" or not all(isinstance(each, IntImm) for each in buffer.shape):
        return allocation
    dtype, count = DataType(str(buffer.dtype)), math.prod(int(each) for each in buffer.shape)
    if count * dtype.lanes * ((dtype.bits + 7) // 8) > _MOST_BYTES:
        return allocation
    return AllocBuffer(buffer, {**allocation.annotations, _LEFT: tirx.const(1, "bool")})
