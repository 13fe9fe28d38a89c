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


def is_conditional(value: Expr) -> bool:
    """Whether it is one of two values, by a condition."""
    return isinstance(value, Call) and getattr(value.op, "name", "") == "prim.if_then_else"
