"""The sketch tuner's space: what schedules MetaSchedule may derive from a function.

TVM's own rules for CPUs but for two things. The innermost axis is always one whole vector
(channels lie innermost in our layout), so no candidate spends its time on half-filled vectors; and
layers of low-bit weights are tiled around our own dot-product intrinsics, since LLVM rejects TVM's.
Source: Zheng et al., "Ansor: Generating High-Performance Tensor Programs", OSDI 2020, section 4;
Shao et al., "Tensor Program Optimization with Probabilistic Programs", NeurIPS 2022, section 4.
"""

from __future__ import annotations

from tvm.s_tir.meta_schedule import mutator, postproc
from tvm.s_tir.meta_schedule import schedule_rule as rule
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply

from ...kernels.isa import InstructionSet

_TILING = "SSRSRS"
_JOBS_PER_CORE = 16
_FLOAT_BITS = 32


def sketch_space(isa: InstructionSet, *, dot_dtype: str | None) -> PostOrderApply:
    """The space of a function that multiplies `dot_dtype` values (`Task.dot_dtype`), or float32."""
    intrinsic = isa.dot(dot_dtype).intrinsic if dot_dtype is not None else None
    tensorized = intrinsic is not None
    return PostOrderApply(
        sch_rules=[
            rule.InlineConstantScalars(),
            rule.AutoInline(
                into_producer=False,
                into_consumer=True,
                inline_const_tensor=True,
                disallow_if_then_else=True,
                require_injective=True,
                require_ordered=True,
                disallow_op=["tirx.exp"],
            ),
            rule.AddRFactor(max_jobs_per_core=_JOBS_PER_CORE, max_innermost_factor=64),
            *([_intrinsic_tiling(intrinsic)] if intrinsic is not None else []),
            _vector_tiling(isa),
            rule.ParallelizeVectorizeUnroll(
                max_jobs_per_core=_JOBS_PER_CORE,
                max_vectorize_extent=-1 if tensorized else 64,
                unroll_max_steps=[16, 64, 256],
                unroll_explicit=True,
            ),
            *([] if tensorized else [rule.RandomComputeLocation()]),
        ],
        postprocs=[
            postproc.DisallowDynamicLoop(),
            postproc.RewriteParallelVectorizeUnroll(),
            postproc.RewriteReductionBlock(),
            *([postproc.RewriteTensorize(vectorize_init_loop=True)] if tensorized else []),
        ],
        mutator_probs={
            mutator.MutateTileSize(): 0.9,
            mutator.MutateComputeLocation(): 0.05,
            mutator.MutateUnroll(): 0.03,
            mutator.MutateParallel(max_jobs_per_core=_JOBS_PER_CORE): 0.02,
        },
    )


def _vector_tiling(isa: InstructionSet) -> rule.ScheduleRule:
    return rule.MultiLevelTilingWideVector(
        structure=_TILING,
        vector_length_in_bits=isa.float_lanes * _FLOAT_BITS,
        max_innermost_factor=64,
        reuse_read=None,
        reuse_write=rule.ReuseType(req="may", levels=[1, 2], scope="global"),
    )


def _intrinsic_tiling(intrinsic: str) -> rule.ScheduleRule:
    return rule.MultiLevelTilingWithIntrin(
        intrinsic,
        structure=_TILING,
        max_innermost_factor=64,
        reuse_read=None,
        reuse_write=rule.ReuseType(req="must", levels=[2], scope="local"),
    )
