"""TVM's lowering of scheduled functions, ours added: vectors, NaN that stays NaN, copies ahead.

And calls from one to another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import tvm
from tvm import IRModule, s_tir, tirx
from tvm.target import Target
from tvm.tirx.build import codegen_build, split_host_device_mods, tir_to_runtime

from . import elementary
from .in_registers import keep_in_registers
from .keep_nan import keep_nan, start_at_infinity
from .linked_calls import link_calls
from .staged_copies import copy_ahead, copy_plainly

NAME = "adaspring"


@cache
def register() -> str:
    """Register it in this process; the name is what `relax.build` takes as `tir_pipeline`."""
    elementary.register()
    tirx.compilation_pipeline.register_tir_pipeline(NAME, _pipeline)
    return NAME


def lower(module: IRModule, target: Target) -> IRModule:
    """Lower scheduled functions: for a CPU as far as to what LLVM compiles."""
    register()
    lowering, finish_host, _ = tirx.get_tir_pipeline(NAME)
    if target.host is not None:
        return lowering(tirx.transform.BindTarget(target)(module))
    return finish_host()(lowering(tirx.transform.BindTarget(target.with_host(target))(module)))


def generate(lowered: IRModule, target: Target) -> tvm.runtime.Module:
    """Generate the code of what `lower` gave: machine code, with OpenCL C or CUDA within."""
    if target.host is None:
        return codegen_build(lowered, target)
    _, finish_host, finish_device = tirx.get_tir_pipeline(NAME)
    host, devices = split_host_device_mods(lowered)
    kernels = {kind: finish_device()(module) for kind, module in devices.items()}
    return tir_to_runtime(finish_host()(host), kernels, target.host)


def _pipeline() -> tuple[tvm.ir.transform.Pass, Callable, Callable]:
    lowering, finish_host, finish_device = tirx.get_tir_pipeline("default")

    @tvm.transform.module_pass(opt_level=0)
    def lower_as_ours(module: IRModule, context: tvm.transform.PassContext) -> IRModule:
        # TVM knows a reduction across a GPU's threads by its start, the least finite value
        module = s_tir.transform.LowerCrossThreadReduction()(module)
        module = elementary.write_out_erf(copy_plainly(start_at_infinity(module)))
        config = {**context.config, "tirx.use_async_copy": True}
        with tvm.transform.PassContext(opt_level=context.opt_level, config=config):
            return keep_in_registers(keep_nan(copy_ahead(lowering(module))))

    @tvm.transform.module_pass(opt_level=0)
    def finish_as_ours(module: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return link_calls(finish_host()(module))

    return lower_as_ours, lambda: finish_as_ours, finish_device
