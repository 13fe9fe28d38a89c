"""Scratch memory: what a network's functions take from TVM's workspace pools while they run.

Padded inputs, Winograd's transformed tiles, sums that do not fit in registers. Each thread has a
pool of its own, which keeps what it once took and grows to what the neediest function wants.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

import tvm_ffi
from tvm import IRModule
from tvm.ir import Call
from tvm.target import Target
from tvm.tirx import PrimFunc
from tvm.tirx.stmt import For, ForKind

from ..codegen import tir_pipeline

_PAGE_BYTES = 4096  # the pool's unit
_ALLOCATE, _SIZE_ARGUMENT = "tirx.TVMBackendAllocWorkspace", 2


def scratch_bytes(module: IRModule, target: Target, thread_count: int) -> int:
    """Bytes that the pools of `thread_count` threads keep, for scheduled functions on a CPU.

    A function's buffers count as alive together: those that are not share their memory by then
    (TVM's StorageRewrite). What a parallel loop allocates is taken on every thread; the calling
    thread, one of them, takes what stands outside of such loops as well.
    """
    caller: list[int] = []
    worker: list[int] = []
    for function in _lowered(module, target).functions.values():
        outside, loops = _allocations(function)
        inside: list[int] = []
        for sizes in loops:
            inside = _larger(inside, sizes)
        worker = _larger(worker, inside)
        caller = _larger(caller, [*outside, *inside])
    return sum(caller) + (thread_count - 1) * sum(worker)


def _lowered(module: IRModule, target: Target) -> IRModule:
    """The functions as they are before code is generated, allocations as calls of the runtime."""
    functions = {
        var: function
        for var, function in module.functions_items()
        if isinstance(function, PrimFunc)
    }
    return tir_pipeline.lower(IRModule(functions), target)


def _allocations(function: PrimFunc) -> tuple[list[int], list[list[int]]]:
    """Bytes of the buffers outside of parallel loops, and of those in each such loop."""
    outside: list[int] = []
    loops: list[list[int]] = []
    current = outside

    def enter(loop: For, visitor: tvm_ffi.StructuralVisitor) -> None:
        nonlocal current
        before = current
        if loop.kind == ForKind.PARALLEL:
            current = []
            loops.append(current)
        visitor.default_visit(loop)
        current = before

    def count(call: Call, visitor: tvm_ffi.StructuralVisitor) -> None:
        if getattr(call.op, "name", "") == _ALLOCATE:
            current.append(-(-int(call.args[_SIZE_ARGUMENT]) // _PAGE_BYTES) * _PAGE_BYTES)
        visitor.default_visit(call)

    tvm_ffi.structural_visit(function, ((For, enter), (Call, count)))
    return outside, loops


def _larger(one: Iterable[int], other: Iterable[int]) -> list[int]:
    """What a pool holds after both: its largest buffer is the larger of the largest, and so on."""
    pairs = zip_longest(sorted(one, reverse=True), sorted(other, reverse=True), fillvalue=0)
    return [max(pair) for pair in pairs]
