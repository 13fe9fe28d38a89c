"""The reference executor: a network's IR run operator by operator in torch float32.

It shares no code with the backends, so a build can be held against it. An operator that
`operators.TABLE` does not hold (or does not cover in that form) is compiled alone for this machine
by TVM's own legalization and run sample by sample: complete, but slow, and for that one operator
not independent of TVM.

A network's leading dimension is fixed, mostly to 1. Many samples run at once all the same: each
call is mapped over them with torch.vmap, which gives batched kernels and the IR's own meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tvm import relax

from ..errors import DataError, InputError
from ..frontend.model import Model
from .graph import Graph, shape_of, variables
from .operators import TABLE
from .tvm_call import compiled

if TYPE_CHECKING:
    from ..frontend.data import Dataset

CHUNK_SAMPLES = 64
"""Samples that run together in `evaluate`; bounds the memory for activations."""

CALIBRATION_RUNS = 128
"""Runs of calibration samples that passes look at; more gained nothing in what was measured."""


class Execution:
    """One run over mapped inputs (S, *input shape), a binding at a time.

    Iterating yields (variable, value) after each binding. A value is mapped (leading axis S) if
    it depends on an input, and plain otherwise; values are dropped after their last reader.
    `replace_weight` changes a weight for the rest of the run, so that a layer can be refitted
    on what reaches it. Weights named in `differentiate` can be differentiated by.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[Tensor],
        keep: Sequence[relax.Var] = (),
        differentiate: Sequence[str] = (),
    ):
        self._graph = Graph.of(model)
        params = model.function.params
        self._mapped: set[relax.Var] = set(params[: len(inputs)])
        self._weights = model.weight_vars()
        self.values: dict[relax.Var, Any] = dict(zip(params, inputs, strict=False))
        for name, var in self._weights.items():
            self.values[var] = _tensor(model.weights[name])
        for name in differentiate:
            self.values[self._weights[name]].requires_grad_()
        self._differentiates = bool(differentiate)
        self._last = _last_readers(self._graph, keep)

    def __iter__(self) -> Iterator[tuple[relax.Var, Any]]:
        for var, expr in self._graph.bindings:
            with torch.set_grad_enabled(self._differentiates):
                self.values[var] = self.evaluate(expr)
            if any(read in self._mapped for read in variables(expr)):
                self._mapped.add(var)
            yield var, self.values[var]
            for read in self._last.get(var, ()):
                if read in self._mapped:
                    self.values.pop(read, None)

    def replace_weight(self, name: str, value: np.ndarray) -> None:
        """Give a weight another value, and recompute what was made of it alone."""
        self.values[self._weights[name]] = _tensor(value)
        stale = {self._weights[name]}
        for var, expr in self._graph.bindings:
            if var in self.values and var not in self._mapped and stale & set(variables(expr)):
                self.values[var] = self.evaluate(expr)
                stale.add(var)

    def evaluate(self, expr: relax.Expr) -> Any:
        """Compute one expression whose variables have values."""
        if isinstance(expr, relax.Call):
            return self._call(expr)
        return self._argument(expr)

    def _call(self, call: relax.Call) -> Any:
        args = tuple(self._argument(arg) for arg in call.args)
        mapped = tuple(self._axes(arg) for arg in call.args)
        operator = TABLE.get(call.op.name)
        if operator is not None:
            result = _map(lambda *a: operator(call.attrs, *a), args, mapped)
            if result is not None:
                return result
        if self._differentiates:
            raise InputError(f"{call.op.name} has no gradient in the reference executor")
        return compiled(call).mapped(args, mapped)

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
            return _constant(expr.value)
        raise InputError(f"the reference executor cannot run {type(expr).__name__} in the IR")

    def _axes(self, expr: relax.Expr) -> Any:
        """Find vmap's in_dims of an argument: 0 where mapped, None where not."""
        if isinstance(expr, relax.Tuple):
            return tuple(self._axes(field) for field in expr.fields)
        return 0 if any(read in self._mapped for read in variables(expr)) else None


class Reference:
    """A network ready to run in torch."""

    def __init__(self, model: Model):
        self._model = model
        self._outputs = Graph.of(model).outputs()

    def run(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run once; inputs and outputs have exactly the network's shapes."""
        for spec, value in zip(self._model.inputs, inputs, strict=True):
            if value.shape != spec.shape:
                raise InputError(
                    f"input {spec.name} is {value.shape}, the network takes {spec.shape}"
                )
        return tuple(value[0] for value in self.mapped([value[None] for value in inputs]))

    def mapped(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run S times at once: each input (S, *shape) gives each output (S, *shape)."""
        tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in inputs]
        execution = Execution(self._model, tensors, keep=self._outputs)
        for _ in execution:
            pass
        runs = len(tensors[0])
        return tuple(_as_mapped(execution, var, runs) for var in self._outputs)


def weight_gradients(
    model: Model,
    inputs: Sequence[Tensor],
    loss: Callable[[tuple[Tensor, ...]], Tensor],
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """Differentiate a loss of the mapped outputs (S, *shape) by the named weights."""
    outputs = Graph.of(model).outputs()
    execution = Execution(model, inputs, keep=outputs, differentiate=names)
    for _ in execution:
        pass
    value = loss(tuple(execution.values[var] for var in outputs))
    held = model.weight_vars()
    weights = [execution.values[held[name]] for name in names]
    found = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    return {name: gradient.numpy() for name, gradient in zip(names, found, strict=True)}


def evaluate(model: Model, dataset: Dataset) -> tuple[np.ndarray, ...]:
    """Compute every output for all samples of a data set: (N, *output shape less its batch axis).

    An output whose leading axis is not the batch keeps all of its axes.
    """
    reference, parts = Reference(model), []
    for chunk in mapped_chunks(model, dataset.inputs):
        parts.append(reference.mapped(chunk))
    joined = (np.concatenate(column) for column in zip(*parts, strict=True))
    return tuple(unbatched(model, value, len(dataset.inputs[0])) for value in joined)


def unbatched(model: Model, value: np.ndarray, count: int) -> np.ndarray:
    """Turn an output of every run (runs, batch, …) into that of `count` samples (count, …)."""
    if value.shape[1:2] != model.inputs[0].shape[:1]:
        return value
    return value.reshape(-1, *value.shape[2:])[:count]


def observe(model: Model, dataset: Dataset, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Return the values of the named variables of the IR for all samples: name → (runs, *shape)."""
    wanted = {var: var.name for var, _ in Graph.of(model).bindings if var.name in set(names)}
    wanted |= {var: var.name for var in model.function.params if var.name in set(names)}
    missing = set(names) - set(wanted.values())
    if missing:
        raise InputError(f"{model.name} has no variable {sorted(missing)}")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for chunk in mapped_chunks(model, dataset.inputs):
        execution = Execution(model, [torch.from_numpy(x) for x in chunk], keep=tuple(wanted))
        for _ in execution:
            pass
        for var, name in wanted.items():
            found[name].append(_as_mapped(execution, var, len(chunk[0])))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of samples whose largest score (last axis) is the label's."""
    if len(outputs) != len(labels):
        raise DataError(f"{len(outputs)} outputs against {len(labels)} labels")
    return float(np.mean(np.argmax(outputs.reshape(len(labels), -1), axis=1) == labels))


def mapped_chunks(model: Model, inputs: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Cut samples (N, …) into pieces (S, batch, …) of the network's own batch, the last padded."""
    for spec, value in zip(model.inputs, inputs, strict=True):
        if value.shape[1:] != spec.shape[1:] or len(value) == 0:
            raise DataError(
                f"samples of input {spec.name} are {value.shape[1:]} ({len(value)} of them), "
                f"the network takes {spec.shape[1:]}"
            )
        _check_finite(spec.name, value)
    batch = model.inputs[0].shape[0]
    count = len(inputs[0])
    order = np.minimum(np.arange(-(-count // batch) * batch), count - 1).reshape(-1, batch)
    for start in range(0, len(order), CHUNK_SAMPLES):
        rows = order[start : start + CHUNK_SAMPLES]
        yield [
            np.ascontiguousarray(value[rows], dtype=spec.dtype)
            for spec, value in zip(model.inputs, inputs, strict=True)
        ]


def _check_finite(name: str, value: np.ndarray) -> None:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = int(np.flatnonzero(~np.isfinite(value.reshape(len(value), -1)).all(axis=1))[0])
        raise DataError(f"sample {bad} of input {name} holds NaN or infinity; remove it")


def calibration_inputs(model: Model, data: Dataset) -> list[Tensor]:
    """Return up to `CALIBRATION_RUNS` runs of samples, (S, batch, …), for passes to watch."""
    count = CALIBRATION_RUNS * model.inputs[0].shape[0]
    chunks = list(mapped_chunks(model, [value[:count] for value in data.inputs]))
    return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*chunks, strict=True)]


def _as_mapped(execution: Execution, var: relax.Var, runs: int) -> np.ndarray:
    value = execution.values[var]
    if value.ndim == len(shape_of(var)):
        value = value.expand(runs, *value.shape)
    return value.contiguous().numpy()


def _map(function: Any, args: tuple[Any, ...], mapped: tuple[Any, ...]) -> Any:
    if not any(axis is not None for axis in _leaves(mapped)):
        return function(*args)
    covered = True

    def checked(*values: Any) -> Any:
        nonlocal covered
        result = function(*values)
        covered = result is not None
        return values[0] if result is None else result

    result = torch.vmap(checked, in_dims=mapped)(*args)
    return result if covered else None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _constant(value: Any) -> Any:
    return _tensor(value.numpy()) if hasattr(value, "numpy") else value


def _tensor(value: np.ndarray) -> Tensor:
    """Copy an array; NumPy's bfloat16 is ml_dtypes', which torch does not know."""
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(value))


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
