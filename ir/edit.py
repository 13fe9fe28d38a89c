"""A network as an editable list of bindings, between an importer's module and a `Model`.

The importers give Relax functions, whose expressions cannot be changed. Here a binding's variable
stays and its value is replaced, so that folding is a plain edit; `emit` writes a new function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import IRModule, relax
from tvm.ir import GenericConst, Op
from tvm.tirx import IntImm

_INTERMEDIATE = re.compile(r"(lv|gv)\d*")


@dataclass
class Weight:
    """A named array. It may hold float64 while folding; `emit` gives it its variable's type."""

    name: str
    value: np.ndarray
    made: bool = False  # by folding: the source has no weight of this name


@dataclass
class EditableGraph:
    """Inputs, weights and bindings of one function, in topological order."""

    inputs: list[relax.Var]
    weights: dict[relax.Var, Weight]
    bindings: list[tuple[relax.Var, relax.Expr]]
    output: relax.Expr
    names: set[str] = field(default_factory=set)

    def values(self) -> dict[relax.Var, relax.Expr]:
        """Each bound variable's value."""
        return dict(self.bindings)

    def use_counts(self) -> Counter[relax.Var]:
        """Count how often each variable is read, the function's outputs included."""
        counts: Counter[relax.Var] = Counter()
        for _, value in self.bindings:
            counts.update(reads(value))
        counts.update(reads(self.output))
        return counts

    def unique_name(self, wanted: str) -> str:
        """Take a name that no other weight has: `wanted` where it is free."""
        name, number = wanted, 1
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name

    def add_weight(
        self, name: str, value: np.ndarray, made: bool = False, dtype: str = "float32"
    ) -> relax.Var:
        """Make a weight of that type; `value` may be float64 until it is emitted."""
        name = self.unique_name(name)
        var = relax.Var(name, relax.TensorType(value.shape, dtype))
        self.weights[var] = Weight(name, value, made)
        return var


def from_function(
    function: relax.Function, input_count: int, weights: Sequence[tuple[str, np.ndarray]]
) -> EditableGraph:
    """Read a function whose parameters are the inputs, then `weights` in order."""
    params = list(function.params)
    held = {
        var: Weight(name, value)
        for var, (name, value) in zip(params[input_count:], weights, strict=True)
    }
    bindings = [(b.var, b.value) for block in function.body.blocks for b in block.bindings]
    graph = EditableGraph(params[:input_count], held, bindings, function.body.body)
    drop_aliases(graph)
    uses = graph.use_counts()
    graph.weights = {var: weight for var, weight in held.items() if uses[var]}
    graph.names = {weight.name for weight in graph.weights.values()}
    return graph


def drop_aliases(graph: EditableGraph) -> None:
    """Replace variables that only rename another, and elements of tuples that are written out."""
    known: dict[relax.Var, relax.Expr] = {}
    tuples: dict[relax.Var, relax.Tuple] = {}
    kept = []
    for var, bound in graph.bindings:
        value = substitute(bound, known)
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in tuples:
            value = tuples[value.tuple_value].fields[value.index]
        if isinstance(value, relax.Var | GenericConst | relax.ShapeExpr):
            known[var] = value
            continue
        if isinstance(value, relax.Tuple):
            tuples[var] = value
        kept.append((var, value))
    graph.bindings = kept
    graph.output = substitute(graph.output, known)
    if isinstance(graph.output, relax.Var) and graph.output in tuples:
        graph.output = tuples[graph.output]


def bind_constants(graph: EditableGraph) -> None:
    """Bind every output that is a constant to a variable, as the IR has it."""
    whole = isinstance(graph.output, relax.Tuple)
    fields = list(graph.output.fields) if whole else [graph.output]
    for at, value in enumerate(fields):
        if isinstance(value, GenericConst):
            shape = relax.ShapeExpr([int(length) for length in value.value.shape])
            fields[at] = relax.Var(f"output_{at}", value.ty)
            graph.bindings.append((fields[at], relax.op.broadcast_to(value, shape)))
    graph.output = relax.Tuple(fields) if whole else fields[0]


def op_name(expr: relax.Expr | None) -> str:
    """``nn.conv2d`` for a call of relax.nn.conv2d; empty for what is no operator call."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, Op):
        return str(expr.op.name).removeprefix("relax.")
    return ""


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """Give the fixed shape of a tensor expression."""
    return tuple(int(length) for length in expr.ty.shape)


def has_fixed_shape(ty: relax.TensorType) -> bool:
    """Whether every dimension is a known number."""
    return isinstance(ty.shape, relax.ShapeExpr) and all(
        isinstance(length, IntImm) for length in ty.shape
    )


def reads(expr: relax.Expr | None) -> Iterator[relax.Var]:
    """Yield every variable that an expression reads."""
    if isinstance(expr, relax.Var):
        yield expr
    elif isinstance(expr, relax.Call):
        for arg in expr.args:
            yield from reads(arg)
    elif isinstance(expr, relax.Tuple):
        for element in expr.fields:
            yield from reads(element)
    elif isinstance(expr, relax.TupleGetItem):
        yield from reads(expr.tuple_value)


def substitute(expr: relax.Expr, env: dict[relax.Var, relax.Expr]) -> relax.Expr:
    """Replace variables; the expression itself comes back where none is in `env`."""
    if isinstance(expr, relax.Var):
        return env.get(expr, expr)
    if not any(var in env for var in reads(expr)):
        return expr
    if isinstance(expr, relax.Call):
        return with_args(expr, [substitute(arg, env) for arg in expr.args])
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([substitute(element, env) for element in expr.fields])
    return relax.TupleGetItem(substitute(expr.tuple_value, env), expr.index)


def with_args(call: relax.Call, args: list[relax.Expr]) -> relax.Call:
    """Call the same operator on other arguments; `emit` finds its type."""
    return relax.Call(call.op, args, call.attrs, call.ty_args)


def emit(graph: EditableGraph) -> tuple[IRModule, dict[str, np.ndarray]]:
    """Write a new module and its weights, in order of first use, less what nothing reads."""
    bindings = _live(graph)
    order = dict.fromkeys(v for _, value in bindings for v in reads(value) if v in graph.weights)
    order.update(dict.fromkeys(v for v in reads(graph.output) if v in graph.weights))
    env: dict[relax.Var, relax.Expr] = {}
    for var in (*graph.inputs, *order):
        held = graph.weights.get(var)
        env[var] = relax.Var(_identifier(var.name if held is None else held.name), var.ty)
    params = [env[var] for var in (*graph.inputs, *order)]
    builder = relax.BlockBuilder()
    with builder.function("main", params, attrs={"num_input": len(graph.inputs)}):
        with builder.dataflow():
            last = bindings.pop() if bindings and bindings[-1][0].same_as(graph.output) else None
            for var, value in bindings:
                env[var] = builder.emit(substitute(value, env))
            output = builder.emit_output(substitute(last[1] if last else graph.output, env))
        builder.emit_func_output(output)
    weights = {}
    for var in order:
        weight = graph.weights[var]
        weights[weight.name] = weight.value.astype(str(var.ty.dtype), copy=False)
    return builder.get(), weights


def _live(graph: EditableGraph) -> list[tuple[relax.Var, relax.Expr]]:
    wanted = set(reads(graph.output))
    live = []
    for var, value in reversed(graph.bindings):
        if var in wanted:
            wanted.update(reads(value))
            live.append((var, value))
    return live[::-1]


def _identifier(name: str) -> str:
    """Name a parameter unlike an intermediate: a block builder names those lv, lv1, gv, …."""
    name = "".join(c if c.isalnum() else "_" for c in name)
    return f"{name}_" if _INTERMEDIATE.fullmatch(name) else name
