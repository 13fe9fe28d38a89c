"""A frozen view of a network's IR: who produces and who reads each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from tvm import relax

from .model import Model


@dataclass(frozen=True, eq=False)
class Graph:
    """Bindings in order; for each variable, the expression that makes it and who reads it."""

    bindings: tuple[tuple[relax.Var, relax.Expr], ...]
    producers: Mapping[relax.Var, relax.Expr]
    consumers: Mapping[relax.Var, tuple[relax.Var, ...]]
    result: relax.Expr

    @classmethod
    def of(cls, model: Model) -> Graph:
        """Read the one dataflow block of a network."""
        body = model.function.body
        bindings = tuple((b.var, b.value) for block in body.blocks for b in block.bindings)
        readers: dict[relax.Var, list[relax.Var]] = {}
        for var, value in bindings:
            for read in variables(value):
                readers.setdefault(read, []).append(var)
        consumers = {var: tuple(dict.fromkeys(found)) for var, found in readers.items()}
        return cls(bindings, dict(bindings), consumers, body.body)

    def origin(self, value: relax.Expr) -> relax.Expr:
        """Follow plain copies of a variable (``gv = lv3``) back to the first name."""
        while isinstance(value, relax.Var):
            copied = self.producers.get(value)
            if not isinstance(copied, relax.Var):
                break
            value = copied
        return value

    def outputs(self) -> tuple[relax.Var, ...]:
        """Return the variables that the network returns."""
        result = self.origin(self.result)
        produced = self.producers.get(result) if isinstance(result, relax.Var) else result
        if isinstance(produced, relax.Tuple):
            return tuple(self.origin(field) for field in produced.fields)
        return (result,)

    def call(self, value: relax.Expr, op: str) -> relax.Call | None:
        """Return the call that makes `value`, if it is a call of `op`."""
        made = self.producers.get(self.origin(value)) if isinstance(value, relax.Var) else value
        return made if is_call(made, op) else None


def is_call(value: object, op: str) -> TypeGuard[relax.Call]:
    """Whether an expression is a call of the operator of that name."""
    return isinstance(value, relax.Call) and getattr(value.op, "name", "") == op


def shape_of(value: relax.Expr) -> tuple[int, ...]:
    """Return a tensor's static shape."""
    return tuple(int(size) for size in value.ty.shape.values)


def variables(value: relax.Expr) -> tuple[relax.Var, ...]:
    """Every variable that an expression reads, in order."""
    if isinstance(value, relax.Var):
        return (value,)
    if isinstance(value, relax.Call):
        return tuple(v for arg in value.args for v in variables(arg))
    if isinstance(value, relax.Tuple):
        return tuple(v for field in value.fields for v in variables(field))
    if isinstance(value, relax.TupleGetItem):
        return variables(value.tuple_value)
    return ()
