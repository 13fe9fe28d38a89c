"""Run one operator call through TVM: what the reference executor falls back on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import tvm
from torch import Tensor
from tvm import relax

from .arrays import to_array, to_tensor


@lru_cache(maxsize=64)
def compile_call(call: relax.Call) -> TvmCall:
    """Return the call compiled for this machine, once."""
    return TvmCall(call)


class TvmCall:
    """One operator call, legalized and compiled by TVM for this machine.

    Each tensor among its arguments, in tuples or not, is a parameter; constants are compiled in.
    """

    def __init__(self, call: relax.Call):
        self._args = tuple(call.args)
        params: list[relax.Var] = []
        args = [_parameterize(arg, params) for arg in self._args]
        builder = relax.BlockBuilder()
        with builder.function("main", params):
            with builder.dataflow():
                result = builder.emit_output(relax.Call(call.op, args, call.attrs))
            builder.emit_func_output(result)
        executable = tvm.compile(builder.get(), tvm.target.Target("llvm"))
        self._main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def mapped(self, args: tuple[Any, ...], axes: tuple[Any, ...], device: torch.device) -> Any:
        """Run sample by sample over the values whose axis is 0, and stack the results."""
        leaves = [
            leaf for each in zip(self._args, args, axes, strict=True) for leaf in _leaves(*each)
        ]
        runs = [len(value) for value, axis in leaves if axis == 0]
        if not runs:
            return self._run([value for value, _ in leaves], device)
        results = [
            self._run([value if axis is None else value[i] for value, axis in leaves], device)
            for i in range(runs[0])
        ]
        return _stacked(results)

    def _run(self, values: list[Tensor], device: torch.device) -> Any:
        result = self._main(*(tvm.runtime.tensor(to_array(value)) for value in values))
        return _tensors(result, device)


def _parameterize(expr: relax.Expr, params: list[relax.Var]) -> relax.Expr:
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_parameterize(field, params) for field in expr.fields])
    if isinstance(expr, relax.Var | relax.TupleGetItem):
        return _parameter(expr.ty, params)
    return expr


def _parameter(ty: relax.Type, params: list[relax.Var]) -> relax.Expr:
    if isinstance(ty, relax.TupleType):
        return relax.Tuple([_parameter(field, params) for field in ty.fields])
    params.append(relax.Var(f"p{len(params)}", ty))
    return params[-1]


def _leaves(expr: relax.Expr, value: Any, axis: Any) -> Iterator[tuple[Tensor, int | None]]:
    """The tensors of an argument with their axes, in the order of their parameters."""
    if isinstance(expr, relax.Tuple):
        for each in zip(expr.fields, value, axis, strict=True):
            yield from _leaves(*each)
    elif isinstance(expr, relax.Var | relax.TupleGetItem):
        yield from _tensor_leaves(value, axis)


def _tensor_leaves(value: Any, axis: Any) -> Iterator[tuple[Tensor, int | None]]:
    if not isinstance(value, tuple):
        yield value, axis
        return
    for each in zip(value, axis, strict=True):
        yield from _tensor_leaves(*each)


def _stacked(results: list[Any]) -> Any:
    if isinstance(results[0], tuple):
        return tuple(_stacked(list(column)) for column in zip(*results, strict=True))
    return torch.stack(results)


def _tensors(result: Any, device: torch.device) -> Any:
    if isinstance(result, tvm.runtime.Tensor):
        return to_tensor(result.numpy(), device)
    return tuple(_tensors(part, device) for part in result)
