"""The memory of activations is asked for at once, so that the app's side can hand it on.

Before  a = alloc_storage((m,)); x = alloc_tensor(a, …); …; b = alloc_storage((n,)); …     m < n
After   b = alloc_storage((1, n)); a = alloc_storage((1, m)); x = alloc_tensor(a, …); …

Variants of a network then ask for blocks that grow smaller, and the k-th of each can be the same.
Two extents mark such a block: the storage of an output, which the app keeps, has one.
`library/native/arena.c` reads the mark; TVM's own allocator takes the product.
"""

from __future__ import annotations

from tvm import IRModule, relax
from tvm.ir import Op

_STORAGE = Op.get("relax.memory.alloc_storage")


def hoist_storages(module: IRModule) -> IRModule:
    """Move the storages of the static plan of `main` to its beginning, the largest first."""
    function = module["main"]
    storages: list[relax.Binding] = []
    blocks: list[relax.BindingBlock] = []
    for block in function.body.blocks:
        rest = [binding for binding in block.bindings if not is_storage(binding)]
        storages += filter(is_storage, block.bindings)
        blocks.append(relax.BindingBlock(rest))
    if not storages:
        return module
    storages.sort(key=storage_bytes, reverse=True)
    body = relax.SeqExpr(
        [relax.BindingBlock([marked(each, storage_bytes(each)) for each in storages]), *blocks],
        function.body.body,
    )
    hoisted = relax.Function(
        function.params, body, function.ret_ty, function.is_pure, function.attrs
    )
    module = module.clone()
    module.update_func(module.get_global_var("main"), hoisted)
    return relax.transform.Normalize()(module)


def calls(value: relax.Expr, operator: Op) -> bool:
    """Whether an expression calls an operator."""
    return isinstance(value, relax.Call) and bool(value.op == operator)


def is_storage(binding: relax.Binding) -> bool:
    """Whether it allocates a storage."""
    return calls(binding.value, _STORAGE)


def storage_bytes(binding: relax.Binding) -> int:
    """How large the storage is."""
    return int(binding.value.args[0].values[0])


def marked(binding: relax.Binding, size_bytes: int) -> relax.Binding:
    """Return a binding with a storage of another size, which the app's side hands on."""
    size = relax.ShapeExpr([1, size_bytes])
    value = relax.op.memory.alloc_storage(size, *binding.value.args[1:])
    return relax.VarBinding(binding.var, value)
