"""Small functions, schedules of them, and tuning logs that hold such."""

from __future__ import annotations

from pathlib import Path

from tvm import IRModule, te
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.database import JSONDatabase
from tvm.s_tir.schedule import Trace
from tvm.target import Target

from adaspring.backends.schedule.contraction import new_schedule
from adaspring.backends.tuning.log.log import Origin, TuningLog

TARGET = Target({"kind": "llvm", "mcpu": "x86-64", "num-cores": 2})
ORIGIN = Origin.now("host", seed=3).by("template")


def product(extent: int, *, block: str = "product", argument: str = "left") -> IRModule:
    """A matrix product and a rectifier; the names of block and argument are free."""
    left = te.placeholder((extent, 32), name=argument)
    right = te.placeholder((32, 16), name="right")
    k = te.reduce_axis((0, 32), name="k")
    sums = te.compute(
        (extent, 16), lambda i, j: te.sum(left[i, k] * right[k, j], axis=k), name=block
    )
    out = te.compute((extent, 16), lambda i, j: te.max(sums[i, j], 0.0), name="rectified")
    function = te.create_prim_func([left, right, out]).with_attr("global_symbol", "main")
    return IRModule({"main": function})


def split_by(module: IRModule, factor: int, block: str = "product") -> Trace:
    """A schedule with one knob."""
    sch = new_schedule(module["main"])
    i, *_ = sch.get_loops(sch.get_sblock(block))
    outer, _ = sch.split(i, [None, factor])
    sch.parallel(outer)
    return sch.trace


def every_kind_of_value(module: IRModule) -> Trace:
    """A schedule with decisions, lists, texts, unknown factors and an index map."""
    sch = new_schedule(module["main"])
    block = sch.get_sblock("product")
    i, j, k = sch.get_loops(block)
    tiles = sch.sample_perfect_tile(j, 2, 16, decision=[4, 4])
    sch.split(j, tiles)
    sch.split(k, [None, 4])
    steps = sch.sample_categorical([0, 16], [0.25, 0.75], decision=1)
    sch.annotate(i, "pragma_auto_unroll_max_step", steps)
    sch.annotate(block, "tiling", "SSR")
    sch.transform_layout(block, ("write", 0), lambda a, b: [b, a])
    return sch.trace


def replay(trace: Trace, module: IRModule) -> IRModule:
    sch: Schedule = new_schedule(module["main"])
    trace.apply_to_schedule(sch, remove_postproc=False)
    return sch.mod


def fill(folder: Path, factors: range, extent: int = 64, origin: Origin | None = ORIGIN) -> None:
    """Add a record for each factor: the larger, the slower."""
    log = TuningLog(folder)
    for factor in factors:
        module = product(extent)
        log.add(module, split_by(module, factor), [1e-5 * factor, 2e-5 * factor], TARGET, origin)


def database(folder: Path) -> JSONDatabase:
    """MetaSchedule's own reader and writer, in the same folder."""
    return JSONDatabase(str(folder / "workloads.jsonl"), str(folder / "records.jsonl"))
