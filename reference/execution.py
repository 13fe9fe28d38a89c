"""One run of a network's IR in torch, a binding at a time.

What the reference executor, calibration and training share. By default many runs happen at once
and each call is mapped over them with torch.vmap; with `mapped=False` there is one run, and the
caller may map all of it. Gradients flow wherever a weight or an input wants them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ..errors import AdaspringError, InputError, UnsupportedOperator
from ..ir.graph import Graph, variables
from ..ir.model import Model
from .arrays import to_tensor
from .operators import TABLE, Operator
from .tvm_call import compile_call


class Execution:
    """One run over inputs (S, *input shape), or (*input shape) with `mapped=False`.

    Iterating yields (variable, value) after each binding. A mapped value has a leading axis S if
    it depends on an input, and is plain otherwise; values that depend on an input are dropped
    after their last reader. `weights` stands in for the network's own, by name. Everything is
    computed on the inputs' device; `constants` keeps what was brought there from run to run.
    `replace_weight` changes a weight for the rest of the run, so that a layer can be refitted
    on what reaches it.
    """

    table: ClassVar[Mapping[str, Operator]] = TABLE

    def __init__(
        self,
        model: Model,
        inputs: Sequence[Tensor],
        keep: Sequence[relax.Var] = (),
        *,
        weights: Mapping[str, Tensor] | None = None,
        constants: dict[Any, Tensor] | None = None,
        mapped: bool = True,
    ):
        self._graph = Graph.of(model)
        self._is_mapped = mapped
        self._device = inputs[0].device if inputs else torch.device("cpu")
        self._constants = {} if constants is None else constants
        params = model.function.params
        self._axes: dict[relax.Var, Any] = dict.fromkeys(params)
        if mapped:
            self._axes.update(dict.fromkeys(params[: len(inputs)], 0))
        self._varying: set[relax.Var] = set(params[: len(inputs)])
        self._weights = model.weight_vars()
        self.values: dict[relax.Var, Any] = dict(zip(params, inputs, strict=False))
        for name, var in self._weights.items():
            given = None if weights is None else weights[name]
            self.values[var] = self._tensor(model.weights[name]) if given is None else given
        self._last = _last_readers(self._graph, keep)

    def __iter__(self) -> Iterator[tuple[relax.Var, Any]]:
        for var, expr in self._graph.bindings:
            self.values[var] = self.evaluate(expr)
            self._axes[var] = self._axes_of(expr, self.values[var])
            if self._depends_on_inputs(expr):
                self._varying.add(var)
            yield var, self.values[var]
            for read in self._last.get(var, ()):
                if read in self._varying:
                    self.values.pop(read, None)

    def mapped_value(self, var: relax.Var, runs: int) -> Tensor:
        """Give a tensor with its axis of runs, also where it is the same in all."""
        value: Tensor = self.values[var]
        return value if self._axes[var] == 0 else value.expand(runs, *value.shape)

    def replace_weight(self, name: str, value: np.ndarray) -> None:
        """Give a weight another value, and recompute what was made of it alone."""
        self.values[self._weights[name]] = self._tensor(value)
        stale = {self._weights[name]}
        for var, expr in self._graph.bindings:
            if var in self.values and var not in self._varying and stale & set(variables(expr)):
                self.values[var] = self.evaluate(expr)
                stale.add(var)

    def evaluate(self, expr: relax.Expr) -> Any:
        """Compute one expression whose variables have values."""
        if isinstance(expr, relax.Call):
            return self._call(expr)
        return self._argument(expr)

    def _call(self, call: relax.Call) -> Any:
        args = tuple(self._argument(arg) for arg in call.args)
        axes = tuple(self._axes_of(*each) for each in zip(call.args, args, strict=True))
        try:
            return self._compute(call, args, axes)
        except (AdaspringError, MemoryError):
            raise
        except Exception as error:
            raise UnsupportedOperator(f"{_describe(call)} cannot be run: {_last(error)}") from error

    def _compute(self, call: relax.Call, args: tuple[Any, ...], axes: tuple[Any, ...]) -> Any:
        operator = self.table.get(call.op.name)
        if operator is not None and not (_is_wide_unsigned(args) and call.op.name not in _MOVES):
            result = _map(lambda *a: operator(call.attrs, *a), args, axes)
            if result is not None:
                return _moved(result, self._device)
        return self._fall_back(call, args, axes)

    def _fall_back(self, call: relax.Call, args: tuple[Any, ...], axes: tuple[Any, ...]) -> Any:
        """Compute a call that the table does not cover, through TVM."""
        return compile_call(call).mapped(args, axes, self._device)

    def _argument(self, expr: relax.Expr) -> Any:
        if isinstance(expr, relax.Var):
            return self.values[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self._argument(field) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return self._argument(expr.tuple_value)[expr.index]
        if isinstance(expr, relax.ShapeExpr):
            return tuple(int(size) for size in expr.values)
        if hasattr(expr, "value"):
            return self._constant(expr)
        raise InputError(f"the reference executor cannot run {type(expr).__name__} in the IR")

    def _constant(self, expr: relax.Expr) -> Any:
        if not hasattr(expr.value, "numpy"):
            return expr.value
        key = (expr, self._device)
        if key not in self._constants:
            self._constants[key] = self._tensor(expr.value.numpy())
        return self._constants[key]

    def _tensor(self, value: np.ndarray) -> Tensor:
        return to_tensor(value, self._device)

    def _depends_on_inputs(self, expr: relax.Expr) -> bool:
        return any(read in self._varying for read in variables(expr))

    def _axes_of(self, expr: relax.Expr, value: Any) -> Any:
        """Find vmap's in_dims of a value: 0 where mapped, None where not; of a tuple, a tuple."""
        if isinstance(expr, relax.Var):
            return self._axes[expr]
        if isinstance(expr, relax.TupleGetItem):
            return self._axes_of(expr.tuple_value, self.values.get(expr.tuple_value))[expr.index]
        if isinstance(expr, relax.Tuple):
            return tuple(self._axes_of(*each) for each in zip(expr.fields, value, strict=True))
        mapped = self._is_mapped and self._depends_on_inputs(expr)
        return _like(value, 0 if mapped else None)


_WIDE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_MOVES = frozenset(
    f"relax.{name}"
    for name in (
        *("astype", "broadcast_to", "expand_dims", "flatten", "permute_dims", "reshape"),
        *("squeeze", "split", "strided_slice"),
    )
)


def _is_wide_unsigned(args: Sequence[Any]) -> bool:
    """Whether torch has but the type: of unsigned integers it computes with 8 bits alone."""
    return any(isinstance(arg, Tensor) and arg.dtype in _WIDE_UNSIGNED for arg in _leaves(args))


class _NotCoveredError(Exception):
    """The table has no meaning for this form of the call."""


def _map(function: Any, args: tuple[Any, ...], mapped: tuple[Any, ...]) -> Any:
    if not any(axis is not None for axis in _leaves(mapped)):
        return function(*args)

    def checked(*values: Any) -> Any:
        result = function(*values)
        if result is None:
            raise _NotCoveredError
        return result

    try:
        return torch.vmap(checked, in_dims=mapped)(*args)
    except _NotCoveredError:
        return None


def _moved(value: Any, device: torch.device) -> Any:
    """What an operator without arguments made, where the network is run."""
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value if value.device == device else value.to(device)


def _like(value: Any, axis: int | None) -> Any:
    """The same axis for every tensor of a value."""
    return tuple(_like(item, axis) for item in value) if isinstance(value, tuple) else axis


def _describe(call: relax.Call) -> str:
    types = ", ".join(str(arg.ty) for arg in call.args if isinstance(arg.ty, relax.TensorType))
    return f"{call.op.name}({types})"


def _last(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _last_readers(
    graph: Graph, keep: Sequence[relax.Var]
) -> dict[relax.Var, tuple[relax.Var, ...]]:
    """For each binding, the variables that nobody reads after it."""
    last: dict[relax.Var, relax.Var] = {}
    for var, expr in graph.bindings:
        last[var] = var
        for read in variables(expr):
            last[read] = last[graph.origin(read)] = var  # a layer's input may be read by a copy
    kept = set(keep)
    dropped: dict[relax.Var, tuple[relax.Var, ...]] = {}
    for read, var in last.items():
        if read not in kept:
            dropped[var] = (*dropped.get(var, ()), read)
    return dropped
