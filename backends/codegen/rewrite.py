"""What our rewriting of scheduled and lowered functions shares."""

from __future__ import annotations

from collections.abc import Callable

from tvm import IRModule
from tvm.ir.expr import Call
from tvm.ir.prim.expr import Expr
from tvm.tirx import PrimFunc


def map_functions(module: IRModule, rewrite: Callable[[PrimFunc], PrimFunc]) -> IRModule:
    """The module with each function rewritten, its attributes kept."""
    functions = {
        var: rewrite(function) if isinstance(function, PrimFunc) else function
        for var, function in module.functions_items()
    }
    return IRModule(functions, attrs=module.attrs)


def is_for_cpu(function: PrimFunc) -> bool:
    """Whether LLVM will generate its code."""
    return bool(function.attrs["target"].kind.name == "llvm")


def is_call_of(value: Expr, operator: str) -> bool:
    """Whether it calls the operator of that name."""
    return isinstance(value, Call) and getattr(value.op, "name", "") == operator


def is_conditional(value: Expr) -> bool:
    """Whether it is one of two values, by a condition."""
    return is_call_of(value, "prim.if_then_else")
