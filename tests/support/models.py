"""Models written by hand in the IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from tvm import relax

from adaspring.ir.model import Model, TensorSpec


def model_of(
    inputs: list[relax.Var], weights: Mapping[str, np.ndarray], body: Callable[..., relax.Expr]
) -> Model:
    """The model whose outputs are `body(*inputs, *weights)`; each call in it becomes a binding."""
    builder = relax.BlockBuilder()
    params = [
        relax.Var(name.replace(".", "_"), relax.TensorType(array.shape, str(array.dtype)))
        for name, array in weights.items()
    ]
    with builder.function("main", [*inputs, *params]):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(body(*inputs, *params)))
        builder.emit_func_output(result)
    module = builder.get()
    fields = module["main"].ty.ret
    outputs = list(fields.fields) if isinstance(fields, relax.TupleType) else [fields]
    return Model(
        name="hand-made",
        module=module,
        weights=dict(weights),
        inputs=tuple(_spec(var.name, var.ty) for var in inputs),
        outputs=tuple(_spec(f"output{i}", ty) for i, ty in enumerate(outputs)),
    )


def _spec(name: str, ty) -> TensorSpec:
    shape = tuple(int(extent) for extent in ty.shape.values)
    return TensorSpec(name=name, shape=shape, dtype=str(ty.dtype))


def single_call(build: Callable[..., relax.Expr], *shapes: tuple[int, ...]) -> Model:
    """The model of `build`'s call of float32 inputs x0, x1, …"""
    types = [relax.TensorType(shape, "float32") for shape in shapes]
    return model_of([relax.Var(f"x{i}", ty) for i, ty in enumerate(types)], {}, build)


def dense(weight: np.ndarray, bias: np.ndarray | None = None) -> Model:
    """The model of one dense layer `fc` with this weight (n, k)."""
    weights = {"fc.weight": weight} | ({} if bias is None else {"fc.bias": bias})
    x = relax.Var("x", relax.TensorType((1, weight.shape[1]), "float32"))

    def body(x, w, b=None):
        product = relax.op.matmul(x, relax.op.permute_dims(w))
        return product if b is None else relax.op.add(product, b)

    return model_of([x], weights, body)
