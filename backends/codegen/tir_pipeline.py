"""TVM's lowering of scheduled functions, ours added: vector arithmetic, and NaN that stays NaN."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import tvm
from tvm import IRModule, s_tir, tirx
from tvm.target import Target

from . import elementary
from .keep_nan import keep_nan, start_at_infinity

NAME = "adaspring"


@cache
def register() -> str:
    """Register it in this process; the name is what `relax.build` takes as `tir_pipeline`."""
    elementary.register()
    tirx.compilation_pipeline.register_tir_pipeline(NAME, _pipeline)
    return NAME


def lower(module: IRModule, target: Target) -> IRModule:
    """Lower scheduled functions for a CPU, as far as to what LLVM compiles."""
    register()
    lowering, finish_host, _ = tirx.get_tir_pipeline(NAME)
    bound = tirx.transform.BindTarget(target.with_host(target))(module)
    return finish_host()(lowering(bound))


def _pipeline() -> tuple[tvm.ir.transform.Pass, Callable, Callable]:
    lowering, finish_host, finish_device = tirx.get_tir_pipeline("default")

    @tvm.transform.module_pass(opt_level=0)
    def lower_keeping_nan(module: IRModule, _context: tvm.transform.PassContext) -> IRModule:
        # TVM knows a reduction across a GPU's threads by its start, the least finite value
        module = s_tir.transform.LowerCrossThreadReduction()(module)
        return keep_nan(lowering(start_at_infinity(module)))

    return lower_keeping_nan, finish_host, finish_device
