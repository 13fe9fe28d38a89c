"""Builds models for boards, and runs what was built on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tvm
from tvm import relax

from adaspring.backends.build import Prepared, build, prepare
from adaspring.backends.kernels.isa import InstructionSet
from adaspring.backends.lowering.lower import lower
from adaspring.backends.schedule.default import Best, fuse_operators
from adaspring.ir.model import Model
from adaspring.library.manifest import TensorSpec, board_record
from adaspring.library.writer import write_library
from adaspring.targets import Board

from .boards import HOST
from .libraries import parts


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
    machine, weights = machine_of(prepared, folder, best)
    values = [tvm.runtime.tensor(np.asarray(array, order="C")) for array in inputs]
    return arrays(machine["main"](*values, weights))


def machine_of(
    prepared: Prepared, folder: Path, best: Best | None = None
) -> tuple[relax.VirtualMachine, list]:
    """Build, and give the virtual machine of the code, and the weights that its calls take."""
    built = build(prepared, best, folder / "code.so")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(built.code)), tvm.cpu())
    return machine, [tvm.runtime.tensor(array) for array in built.weights.values()]


def arrays(result) -> list[np.ndarray]:
    """What a call gave, one tensor or several."""
    results = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [tensor.numpy() for tensor in results]


def planned(module: tvm.IRModule) -> tvm.IRModule:
    """A module of kernels with TVM's plan of its memory."""
    for step in (
        relax.transform.ToNonDataflow(),
        relax.transform.CallTIRRewrite(),
        relax.transform.StaticPlanBlockMemory(),
    ):
        module = step(module)
    return module


def run_fresh(model: Model, x: np.ndarray) -> np.ndarray:
    """Built under a name of its own: the loader takes a name that it knows for what it had then."""
    with TemporaryDirectory() as folder:
        (found,) = run(model, HOST, Path(folder), x)
    return found


def library_of(model: Model, board: Board, folder: Path, best: Best | None = None) -> Path:
    """A library of one variant, at `folder`; its code is built beside it."""
    built = build(prepare(model, board), best, folder.with_suffix(".so"))
    base = parts(built.code)
    variant = replace(
        base.variants[0], name="one", functions=built.functions, weights=dict(built.weights)
    )
    inputs, outputs = (
        tuple(TensorSpec(name=spec.name, shape=spec.shape, dtype=spec.dtype) for spec in side)
        for side in (model.inputs, model.outputs)
    )
    written = replace(
        base, board=board_record(board), inputs=inputs, outputs=outputs,
        plainest="one", variants=(variant,), dropped=(),
    )  # fmt: skip
    write_library(folder, written)
    return folder
