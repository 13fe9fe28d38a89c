"""From a model to a shared library for one board: lower, schedule, compile, link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tvm
from tvm import IRModule, relax
from tvm.ir import Op
from tvm.target import Target

from ..errors import AdaspringError, BuildError
from ..files.replace import TemporaryFolder, reserve
from ..ir.model import Model
from ..library.manifest import FunctionRecord
from ..targets import Board
from .codegen import cuda, tir_pipeline
from .codegen.link import OBJECT_BYTES, linker
from .kernels.isa import InstructionSet, instruction_set
from .lowering.lower import lower
from .report.functions import functions_of
from .report.scratch import scratch_bytes
from .schedule.default import Best, fuse_operators, schedule_cpu
from .schedule.gpu import schedule_gpu
from .schedule.one_call import call_at_once


@dataclass(frozen=True)
class Prepared:
    """A network lowered and fused for a board, its functions not yet scheduled.

    `module["main"]` takes the inputs, then the packed `weights` in order. `direct` names those of
    direct convolutions that Winograd's filtering could do.
    """

    module: IRModule
    weights: Mapping[str, np.ndarray]
    direct: frozenset[str]
    board: Board
    isa: InstructionSet
    target: Target


@dataclass(frozen=True)
class Built:
    """A shared library whose `main` takes the inputs, then one array of all `weights`.

    `functions` are the calls that `main` makes, in order;
    `scratch_bytes` is what its functions take beside that while they run; 0 on GPUs, not known.
    """

    code: Path
    weights: Mapping[str, np.ndarray]
    functions: tuple[FunctionRecord, ...]
    activation_bytes: int
    scratch_bytes: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights."""
        return sum(array.nbytes for array in self.weights.values())


def board_target(board: Board) -> Target:
    """The board's TVM target."""
    return Target(dict(board.target))


def prepare(
    model: Model, board: Board, winograd: Mapping[str, int] = MappingProxyType({})
) -> Prepared:
    """Lower and fuse `model` for `board`; BuildError where TVM cannot.

    `winograd` gives the tile of each weight whose convolutions are done so (`lower`).
    """
    isa = instruction_set(board)
    target = board_target(board)
    with _name_board(board):
        lowered = lower(model, isa, winograd)
        module = fuse_operators(lowered.module, target)
        return Prepared(module, lowered.weights, lowered.direct, board, isa, target)


@dataclass(frozen=True)
class Scheduled:
    """A network whose functions are scheduled; `compile_library` does the rest, on any machine."""

    module: IRModule
    weights: Mapping[str, np.ndarray]
    functions: tuple[FunctionRecord, ...]
    board: Board
    activation_bytes: int
    scratch_bytes: int

    def built(self, code: Path) -> Built:
        """With the library that came of it."""
        return Built(code, self.weights, self.functions, self.activation_bytes, self.scratch_bytes)


def schedule(prepared: Prepared, best: Best | None) -> Scheduled:
    """Schedule every function, those that `best` knows by its schedule, and plan memory."""
    board = prepared.board
    with _name_board(board):
        if board.device == "cpu":
            module = schedule_cpu(prepared.module, prepared.isa, best)
        else:
            module = schedule_gpu(prepared.module, prepared.isa, prepared.target, best)
        module = relax.transform.BundleModelParams()(module)
        planned = _apply(module, _PLAN, prepared.target)
        called = call_at_once(planned) if board.device == "cpu" else planned
        finished = _apply(called, _FINISH, prepared.target)
        scratch = 0
        if board.device == "cpu":
            scratch = scratch_bytes(finished, prepared.target, board.core_count)
        functions = functions_of(prepared.module, tuple(prepared.weights))
        activations = planned_bytes(planned)
        return Scheduled(finished, prepared.weights, functions, board, activations, scratch)


def build(prepared: Prepared, best: Best | None, code: Path) -> Built:
    """Schedule, compile and link to `code`, functions that `best` knows by its schedule."""
    scheduled = schedule(prepared, best)
    compile_library(scheduled.module, scheduled.board, code)
    return scheduled.built(code)


def build_unscheduled(prepared: Prepared, board: Board, code: Path) -> Built:
    """Build what was lowered for one board for another, each function as plain loops.

    So a lowering can be run where its board is not: slowly, and without its schedules.
    """
    target = board_target(board)
    with _name_board(board):
        module = relax.transform.BundleModelParams()(prepared.module)
        planned = _apply(module, _PLAN, target)
        compile_library(_apply(planned, _FINISH, target), board, code)
    functions = functions_of(prepared.module, tuple(prepared.weights))
    return Built(code, prepared.weights, functions, planned_bytes(planned), 0)


def compile_library(module: IRModule, board: Board, code: Path) -> None:
    """Compile and link a scheduled network to `code`; nine tenths of a build's time."""
    with _name_board(board):
        if board.device == "cuda":
            cuda.compile_library(tvm.ir.save_json(module), board, code)
        else:
            generate_library(module, board, code)


def generate_library(module: IRModule, board: Board, code: Path) -> None:
    """Generate the code of a scheduled network in this process, and link it to `code`."""
    link, target = linker(board.architecture), board_target(board)
    with target:
        executable = relax.build(
            module, target, relax_pipeline=None, tir_pipeline=tir_pipeline.register()
        )
    with TemporaryFolder("objects") as objects:
        reserve(Path(objects), OBJECT_BYTES)
        executable.export_library(str(code), fcompile=link, workspace_dir=objects)


def compile_bytes(module_json: str, board: Board) -> bytes:
    """`compile_library` for another process or host: from text to bytes, no file is shared."""
    with TemporaryFolder("code") as folder:
        code = Path(folder) / "code.so"
        compile_library(tvm.ir.load_json(module_json), board, code)
        return code.read_bytes()


@contextmanager
def _name_board(board: Board) -> Iterator[None]:
    """What TVM raises, as one line that names the board."""
    try:
        yield
    except (AdaspringError, MemoryError):
        raise
    except OSError as error:
        raise BuildError(f"the code for {board.name} cannot be written: {error}") from error
    except Exception as error:
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise BuildError(f"could not compile for {board.name}: {last}") from error


_PLAN = (
    relax.transform.ToNonDataflow(),
    relax.transform.RemovePurityChecking(),
    relax.transform.CallTIRRewrite(),
    relax.transform.StaticPlanBlockMemory(),
)

_FINISH = (
    relax.transform.LowerAllocTensor(),
    relax.transform.LowerRuntimeBuiltin(),
    relax.transform.ComputePrimValue(),
    relax.transform.VMShapeLower(),
    relax.transform.AttachGlobalSymbol(),
)


def _apply(module: IRModule, steps: tuple[tvm.ir.transform.Pass, ...], target: Target) -> IRModule:
    with target:
        for step in steps:
            module = step(module)
    return module


def planned_bytes(module: IRModule) -> int:
    """Bytes of activations that the static plan keeps at once, outputs included."""
    storage, tensor = Op.get("relax.memory.alloc_storage"), Op.get("relax.builtin.alloc_tensor")
    total = 0

    def visit(expr: relax.Expr) -> None:
        nonlocal total
        if not isinstance(expr, relax.Call):
            return
        if expr.op == storage:
            total += int(np.prod([int(v) for v in expr.args[0].values], dtype=np.int64))
        elif expr.op == tensor:
            dtype = tvm.DataType(str(expr.ty.dtype))
            count = int(np.prod([int(v) for v in expr.ty.shape.values], dtype=np.int64))
            total += count * ((dtype.bits + 7) // 8)

    relax.analysis.post_order_visit(module["main"], visit)
    return total
