"""Make models by hand, build them, and run what was built, for the tests of the backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tvm
from tvm import IRModule, relax

from adaspring.backends.build import _FINISH, _PLAN, Prepared, _apply, build, prepare
from adaspring.backends.kernels.isa import InstructionSet
from adaspring.backends.lowering.lower import lower
from adaspring.backends.schedule.default import Best, fuse_operators, schedule_gpu
from adaspring.ir.model import Model, TensorSpec
from adaspring.targets import Board


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


def finished(prepared: Prepared) -> IRModule:
    """A GPU's module as `build` hands it to the compiler."""
    module = schedule_gpu(prepared.module, prepared.target)
    module = relax.transform.BundleModelParams()(module)
    return _apply(module, (*_PLAN, *_FINISH), prepared.target)


def run(
    model: Model, board: Board, folder: Path, *inputs: np.ndarray, isa: InstructionSet | None = None
) -> list[np.ndarray]:
    """Build `model` for a board that this machine can run, by its kernels or `isa`'s; run it."""
    prepared = prepare(model, board)
    if isa is not None:
        lowered = lower(model, isa)
        module = fuse_operators(lowered.module, prepared.target)
        prepared = replace(prepared, module=module, weights=lowered.weights, isa=isa)
    return built_and_run(prepared, folder, *inputs)


def built_and_run(
    prepared: Prepared, folder: Path, *inputs: np.ndarray, best: Best | None = None
) -> list[np.ndarray]:
    """Build, with the schedules that are known, and run."""
    built = build(prepared, best, folder / "code.so")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(built.code)), tvm.cpu())
    weights = [tvm.runtime.tensor(array) for array in built.weights.values()]
    values = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in inputs]
    result = machine["main"](*values, weights)
    results = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [tensor.numpy() for tensor in results]


def assert_close(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], ratio: float) -> None:
    """Each within `ratio` of the largest value, of the same shape and type."""
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        assert (f.shape, f.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(f, e, rtol=ratio, atol=ratio * max(1, np.abs(e).max(initial=0)))
