"""Code for boards to run: functions that call the C library, linked for this machine."""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm.script import tirx as T
from tvm.target import Target

from adaspring import targets
from adaspring.backends.codegen.link import linker

HOST = targets.host()


def calling(folder: Path, name: str, *call: object) -> Path:
    """A candidate that calls a function of the C library, then doubles its argument."""

    @T.prim_func
    def main(a: T.Buffer((16,), "float32"), b: T.Buffer((16,), "float32")):
        T.func_attr({"global_symbol": "main"})
        T.evaluate(T.call_extern("int32", *call))
        for i in range(16):
            b[i] = a[i] * T.float32(2)

    return link(folder, name, main)


def link(folder: Path, name: str, function) -> Path:
    target = Target({"kind": "llvm", "mtriple": f"{HOST.architecture}-linux-gnu"})
    built = tvm.tirx.build(tvm.IRModule({"main": function}), target=target)
    path = folder / f"{name}.so"
    built.export_library(str(path), fcompile=linker(HOST.architecture))
    return path
