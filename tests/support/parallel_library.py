"""A library whose only function is a parallel loop over rows: y = x * w + 1."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np

from adaspring import targets
from adaspring.library import writer
from adaspring.library.manifest import FunctionRecord, TensorSpec

from .libraries import parts, variant

SHAPE = (64, 2048)


def weight() -> np.ndarray:
    return np.random.default_rng(3).standard_normal(SHAPE, dtype=np.float32)


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, dtype=np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    """In float64."""
    return x.astype(np.float64) * weight() + 1


@cache
def parallel_code() -> Path:
    """Compile for this machine; the path of the .so."""
    import tvm
    from tvm import relax, te

    x, w = (te.placeholder(SHAPE, name=name) for name in "xw")
    y = te.compute(SHAPE, lambda i, j: x[i, j] * w[i, j] + 1.0, name="y")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([x, w, y]))
    schedule.parallel(schedule.get_loops(schedule.get_sblock("y"))[0])
    builder = relax.BlockBuilder()
    params = [relax.Var(name, relax.TensorType(SHAPE, "float32")) for name in "xw"]
    with builder.function("main", params, attrs={"num_input": 1}):
        with builder.dataflow():
            function = builder.add_func(schedule.mod["main"].without_attr("global_symbol"), "rows")
            out = builder.emit_output(
                relax.call_tir(function, params, relax.TensorType(SHAPE, "float32"))
            )
        builder.emit_func_output(out)
    module = relax.transform.BundleModelParams()(builder.finalize())
    path = Path(mkdtemp()) / "parallel.so"
    tvm.compile(module, target=tvm.target.Target(targets.null().target)).export_library(str(path))
    return path


def write_parallel_library(
    folder: Path, threads: int = 2, runtime_paths: tuple[Path, ...] = ()
) -> Path:
    """Write it for this machine, with a board's number of threads."""
    spec = TensorSpec(name="x", shape=SHAPE, dtype="float32")
    rows = FunctionRecord(
        name="rows", layers=(), kernel="elementwise", dtype=None, macs_count=0,
        performed_macs_count=0, moved_bytes=12 * SHAPE[0] * SHAPE[1],
    )  # fmt: skip
    made = replace(
        variant("dense", None, parallel_code()),
        functions=(rows,),
        weights={"scale.weight": weight()},
    )
    base = parts(parallel_code())
    library = replace(
        base,
        name="parallel",
        board=msgspec.structs.replace(base.board, thread_count=threads),
        inputs=(spec,),
        outputs=(msgspec.structs.replace(spec, name="y"),),
        variants=(made,),
        runtime_paths=runtime_paths,
    )
    writer.write_library(folder, library)
    return folder
