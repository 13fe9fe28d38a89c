"""Outputs with memory of their own: an app may change an input, or one output, and keep the rest.

Before  y = reshape(x); z = add(x, 1); return y, z, z     (`x` an input)
After   y = reshape(x); z = add(x, 1); return copy(y), z, copy(z)
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm import IRModule, relax, te, topi
from tvm.ir import GenericConst, GlobalVar

Producers = Mapping[relax.Var, relax.Expr]


def own_outputs(module: IRModule) -> IRModule:
    """Copy outputs of `main` that are inputs, weights, another output, or views of these."""
    function = module["main"]
    producers = {b.var: b.value for block in function.body.blocks for b in block.bindings}
    result = _origin(function.body.body, producers)
    outputs = list(result.fields) if isinstance(result, relax.Tuple) else [result]
    taken: set[object] = {None, *function.params}
    module = module.clone()
    copies: list[relax.VarBinding] = []
    for position, output in enumerate(outputs):
        memory = _memory(output, producers)
        if memory in taken:
            copy = _copy(module, output)
            outputs[position] = relax.DataflowVar(f"output{position}", output.ty)
            copies.append(relax.VarBinding(outputs[position], copy))
        taken.add(memory)
    if copies:
        returned = relax.Tuple(outputs) if isinstance(result, relax.Tuple) else outputs[0]
        function = _returning(function, copies, returned)
        module.update_func(module.get_global_var("main"), function)
        module = relax.transform.Normalize()(module)
    return module


def _origin(value: relax.Expr, producers: Producers) -> relax.Expr:
    """Follow other names of a value to what they stand for: a tuple, a constant or a variable."""
    while isinstance(value, relax.Var):
        made = producers.get(value)
        if not isinstance(made, relax.Var | relax.Tuple | relax.TupleGetItem | GenericConst):
            break
        value = made
    return value


def _memory(value: relax.Expr, producers: Producers) -> object:
    """Whose memory a value lies in: a variable's or a field of a tuple's; None for constants."""
    value = _origin(value, producers)
    if isinstance(value, relax.TupleGetItem):
        made = _origin(value.tuple_value, producers)
        if isinstance(made, relax.Tuple):
            return _memory(made.fields[value.index], producers)
        return made, value.index
    made = producers.get(value) if isinstance(value, relax.Var) else None
    if isinstance(made, relax.Call) and getattr(made.op, "name", "") == "relax.reshape":
        return _memory(made.args[0], producers)
    return value if isinstance(value, relax.Var) else None


def _copy(module: IRModule, value: relax.Expr) -> relax.Call:
    """Call a new function of the module that copies a tensor."""
    shape = [int(size) for size in value.ty.shape.values]
    given = te.placeholder(shape, str(value.ty.dtype), "given")
    name = f"copy{len(module.functions)}"
    var = GlobalVar(name)
    function = te.create_prim_func([given, topi.identity(given)])
    relax.expr._update_type(var, function.ty)
    module.update_func(var, function.with_attr("global_symbol", name))
    return relax.call_tir(var, [value], value.ty)


def _returning(
    function: relax.Function, copies: list[relax.VarBinding], returned: relax.Expr
) -> relax.Function:
    """Give the function with more bindings at its end, and another result."""
    result = relax.Var("outputs", function.ret_ty)
    held = [binding for block in function.body.blocks for binding in block.bindings]
    bindings = [*held, *copies, relax.VarBinding(result, returned)]
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], result)
    return relax.Function(function.params, body, function.ret_ty, attrs=function.attrs)
