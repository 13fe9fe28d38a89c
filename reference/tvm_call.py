"""Run one operator call through TVM: what the reference executor falls back on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
import tvm
from torch import Tensor
from tvm import relax

from ..ir.graph import variables


@lru_cache(maxsize=64)
def compile_call(call: relax.Call) -> TvmCall:
    """Return the call compiled for this machine, once."""
    return TvmCall(call)


class TvmCall:
    """One operator call, legalized and compiled by TVM for this machine."""

    def __init__(self, call: relax.Call):
        self._args = tuple(call.args)
        self._reads = tuple(dict.fromkeys(variables(call)))
        params = [relax.Var(f"p{i}", var.ty) for i, var in enumerate(self._reads)]
        renamed = dict(zip(self._reads, params, strict=True))
        builder = relax.BlockBuilder()
        with builder.function("main", params):
            with builder.dataflow():
                args = [_rename(arg, renamed) for arg in call.args]
                result = builder.emit_output(relax.Call(call.op, args, call.attrs))
            builder.emit_func_output(result)
        executable = tvm.compile(builder.get(), tvm.target.Target("llvm"))
        self._main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def mapped(self, args: tuple[Any, ...], axes: tuple[Any, ...]) -> Any:
        """Run sample by sample over the arguments whose axis is 0, and stack the results."""
        values, mapped = self._by_variable(args), self._by_variable(axes)
        runs = [len(value) for value, axis in zip(values, mapped, strict=True) if axis == 0]
        if not runs:
            return self._run(values)
        results = [
            self._run([v if axis is None else v[i] for v, axis in zip(values, mapped, strict=True)])
            for i in range(runs[0])
        ]
        if isinstance(results[0], tuple):
            return tuple(torch.stack(column) for column in zip(*results, strict=True))
        return torch.stack(results)

    def _by_variable(self, args: tuple[Any, ...]) -> list[Any]:
        """Pick the values of the variables that the call reads, from those of its arguments."""
        found: dict[relax.Var, Any] = {}
        for expr, value in zip(self._args, args, strict=True):
            if isinstance(expr, relax.Tuple):
                found |= dict(zip(expr.fields, value, strict=True))
            else:
                found[expr] = value
        return [found[var] for var in self._reads]

    def _run(self, values: list[Tensor]) -> Any:
        host = [tvm.runtime.tensor(value.cpu().contiguous().numpy()) for value in values]
        result, device = self._main(*host), values[0].device
        if hasattr(result, "numpy"):
            return torch.from_numpy(result.numpy()).to(device)
        return tuple(torch.from_numpy(part.numpy()).to(device) for part in result)


def _rename(expr: relax.Expr, names: Mapping[relax.Var, relax.Var]) -> relax.Expr:
    if isinstance(expr, relax.Var):
        return names[expr]
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([_rename(field, names) for field in expr.fields])
    return expr
