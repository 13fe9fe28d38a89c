"""A packed function that calls another of its module by its C name calls that one.

TVM's own code for such a call declares the name anew each time: the second time it is another name,
which nobody has.

Before  tvm_call_cpacked_lowered(name, stack, begin, end)
After   assert name(null, stack + begin, end - begin, stack + end) == 0
"""

from __future__ import annotations

import tvm_ffi
from tvm import IRModule, tirx
from tvm.ir import StringImm
from tvm.ir.prim.expr import EQ
from tvm.tirx import AssertStmt, Evaluate, Stmt

from .rewrite import is_call_of, map_functions

_PACKED = "tirx.tvm_call_cpacked_lowered"
_ANY_BYTES = 16  # of a TVMFFIAny


def link_calls(module: IRModule) -> IRModule:
    """Rewrite such calls in lowered functions, the last step before code is generated."""
    return map_functions(
        module, lambda function: tvm_ffi.structural_map(function, ((Evaluate, _linked),))
    )


def _linked(statement: Evaluate) -> Stmt:
    if not is_call_of(statement.value, _PACKED):
        return statement
    name, stack, begin, end = statement.value.args[:4]
    given, result = (
        tirx.op.handle_add_byte_offset(stack, _ANY_BYTES * int(each)) for each in (begin, end)
    )
    nobody = tirx.reinterpret("handle", tirx.const(0, "uint64"))
    status = tirx.call_extern("int32", name.value, nobody, given, int(end) - int(begin), result)
    why = f"{name.value} failed: no memory is left for what it computes with"
    is_well = EQ(status, tirx.const(0, "int32"))
    # the condition comes first, whatever the signature calls it
    return AssertStmt(is_well, StringImm("RuntimeError"), [StringImm(why)])
