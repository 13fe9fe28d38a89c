"""The operators of ATen that are imported, and how.

A converter's parameters are the arguments that it honours; `operator_call.bind` refuses the rest.
What is in no table is refused by name. torch itself decomposes most of its operators into these.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm.relax import op

from ..operator_call import Converter, Entry
from . import (
    arithmetic,
    attention,
    complex_numbers,
    indexing,
    layers,
    norms,
    pools,
    recurrent,
    reductions,
    resize,
    scattering,
    searching,
    shapes,
    unary,
)


def _entries(converters: Mapping[str, Converter], *harmless: str) -> dict[str, Entry]:
    return {
        f"aten.{name}": Entry(convert, frozenset(harmless)) for name, convert in converters.items()
    }


def _each(overloads: str, converters: Mapping[str, Converter]) -> dict[str, Converter]:
    return {
        f"{name}.{overload}": convert
        for name, convert in converters.items()
        for overload in overloads.split()
    }


_ARITHMETIC: dict[str, Converter] = {
    **_each(
        "Tensor Scalar",
        {
            "add": arithmetic.add,
            "sub": arithmetic.subtract,
            "mul": arithmetic.multiply,
            "div": arithmetic.true_divide,
            "remainder": arithmetic.remainder,
            "fmod": arithmetic.fmod,
            "eq": arithmetic.compare(op.equal),
            "ne": arithmetic.compare(op.not_equal),
            "lt": arithmetic.compare(op.less),
            "le": arithmetic.compare(op.less_equal),
            "gt": arithmetic.compare(op.greater),
            "ge": arithmetic.compare(op.greater_equal),
            "bitwise_and": arithmetic.bitwise(op.bitwise_and),
            "bitwise_or": arithmetic.bitwise(op.bitwise_or),
            "bitwise_xor": arithmetic.bitwise(op.bitwise_xor),
            "__lshift__": arithmetic.binary(op.left_shift),
            "__rshift__": arithmetic.binary(op.right_shift),
        },
    ),
    **_each("Tensor_mode Scalar_mode", {"div": arithmetic.divide}),
    **_each("Scalar Tensor_Scalar Tensor_Tensor", {"pow": arithmetic.power}),
    "maximum.default": arithmetic.extreme(op.maximum, op.logical_or),
    "minimum.default": arithmetic.extreme(op.minimum, op.logical_and),
    "fmax.default": arithmetic.extreme_number(op.maximum),
    "fmin.default": arithmetic.extreme_number(op.minimum),
    "atan2.default": arithmetic.binary(op.atan2),
    **_each("Tensor Scalar", {"copysign": arithmetic.copy_sign}),
    "hypot.default": arithmetic.hypotenuse,
    "ldexp.Tensor": arithmetic.times_power_of_two,
    "dist.default": reductions.distance,
    "bitwise_not.default": arithmetic.bitwise_not,
    "logical_and.default": arithmetic.logical(op.logical_and),
    "logical_or.default": arithmetic.logical(op.logical_or),
    "logical_xor.default": arithmetic.logical(op.logical_xor),
    "logical_not.default": arithmetic.logical_not,
    "where.self": arithmetic.where,
    "_to_copy.default": arithmetic.to_copy,
    "copy.default": arithmetic.copy,
    **dict.fromkeys(
        ("clone.default", "alias.default", "detach.default", "lift_fresh_copy.default"),
        arithmetic.same,
    ),
}
_UNARY: dict[str, Converter] = {
    **_each(
        "default",
        {
            **{
                name: unary.floating(getattr(op, name))
                for name in (
                    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf"),
                    *("exp", "log", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"),
                )
            },
            **{
                name: unary.whole(getattr(op, name)) for name in ("ceil", "floor", "round", "trunc")
            },
            "abs": unary.floating(op.abs),
            "neg": unary.floating(op.negative),
            "isnan": unary.about_floats(op.isnan, otherwise=False),
            "isinf": unary.about_floats(op.isinf, otherwise=False),
            "sign": unary.sign,
            "log2": unary.logarithm(2.0),
            "log10": unary.logarithm(10.0),
            "log1p": unary.log1p,
            "expm1": unary.expm1,
            "exp2": unary.exp2,
            "erfc": unary.erfc,
            "reciprocal": unary.reciprocal,
            "relu": unary.relu,
            "elu": unary.elu,
            "gelu": unary.gelu,
            "leaky_relu": unary.leaky_relu,
            "hardtanh": unary.clamp_to,
        },
    ),
    "round.decimals": unary.round_decimals,
    **_each("default Tensor", {"clamp": unary.clamp}),
}
_SHAPES: dict[str, Converter] = {
    "view.default": shapes.view,
    "unsqueeze.default": shapes.unsqueeze,
    "squeeze.dims": shapes.squeeze,
    "expand.default": shapes.expand,
    "permute.default": shapes.permute,
    "cat.default": shapes.cat,
    "split_with_sizes.default": shapes.split,
    "repeat.default": shapes.repeat,
    "constant_pad_nd.default": shapes.pad,
    "diagonal.default": shapes.diagonal,
    "unfold.default": shapes.unfold,
}
_INDEXING: dict[str, Converter] = {
    "select.int": indexing.select,
    "slice.Tensor": indexing.slice_,
    "index_select.default": indexing.index_select,
    "flip.default": indexing.flip,
    "take.default": indexing.take_flat,
    "index.Tensor": indexing.index,
    "as_strided.default": indexing.as_strided,
    "scatter.src": scattering.scatter,
    "scatter.value": scattering.scatter_value,
    "scatter_add.default": scattering.scatter_add,
    "index_put.default": scattering.index_put,
    "slice_scatter.default": scattering.slice_scatter,
    "select_scatter.default": scattering.select_scatter,
    "scatter_reduce.two": scattering.scatter_reduce,
    "bucketize.Tensor": searching.bucketize,
    "searchsorted.Tensor": searching.searchsorted,
}
_REDUCTIONS: dict[str, Converter] = {
    "amax.default": reductions.reduce(op.max),
    "amin.default": reductions.reduce(op.min),
    "max.default": reductions.reduce_all(op.max),
    "min.default": reductions.reduce_all(op.min),
    "any.default": reductions.anything_at_all,
    "any.dim": reductions.anything,
    "any.dims": reductions.anything,
    "max.dim": reductions.extreme(op.max, op.argmax),
    "min.dim": reductions.extreme(op.min, op.argmin),
    "argmax.default": reductions.extreme_index(op.argmax),
    "argmin.default": reductions.extreme_index(op.argmin),
    "var.correction": reductions.variance,
    "var_mean.correction": reductions.variance_and_mean,
    "topk.default": reductions.topk,
    "median.default": reductions.median_of_all,
    "median.dim": reductions.median,
    "cummax.default": searching.running(op.max, op.argmax),
    "cummin.default": searching.running(op.min, op.argmin),
    "kthvalue.default": searching.kth_value,
    "logcumsumexp.default": searching.log_cumulative_sum_exp,
}
# What their type is, the result says: they compute in it.
_TYPED_REDUCTIONS: dict[str, Converter] = {
    "sum.dim_IntList": reductions.reduce(op.sum),
    "mean.dim": reductions.reduce(op.mean),
    "mean.default": reductions.reduce_all(op.mean),
    "prod.default": reductions.reduce_all(op.prod),
    "prod.dim_int": reductions.reduce(op.prod),
    "cumsum.default": reductions.accumulate(op.cumsum),
    "cumprod.default": reductions.accumulate(op.cumprod),
    "linalg_vector_norm.default": reductions.vector_norm,
}
_LAYERS: dict[str, Converter] = {
    "linear.default": layers.linear,
    "matmul.default": layers.matmul,
    "mm.default": layers.mm,
    "bmm.default": layers.mm,
    "addmm.default": layers.addmm,
    "convolution.default": layers.convolution,
    "_adaptive_avg_pool2d.default": pools.adaptive_avg_pool2d,
    "_adaptive_avg_pool3d.default": pools.adaptive_avg_pool3d,
    "adaptive_max_pool2d.default": pools.adaptive_max_pool2d,
    "avg_pool2d.default": pools.avg_pool2d,
    "avg_pool3d.default": pools.avg_pool3d,
    "upsample_nearest2d.vec": resize.nearest,
    "upsample_bilinear2d.vec": resize.bilinear,
    "_upsample_bilinear2d_aa.default": resize.bilinear_antialiased,
    "_upsample_bicubic2d_aa.default": resize.bicubic_antialiased,
    "native_layer_norm.default": norms.layer_norm,
    "scaled_dot_product_attention.default": attention.attention,
    "lstm.input": recurrent.loops("lstm"),
    "gru.input": recurrent.loops("gru_reset_after"),
    "rnn_tanh.input": recurrent.loops("rnn_tanh"),
    "rnn_relu.input": recurrent.loops("rnn_relu"),
}
_SOFTMAX: dict[str, Converter] = {
    "_softmax.default": unary.softmax(op.nn.softmax),
    "_log_softmax.default": unary.softmax(op.nn.log_softmax),
}

COMPLEX: dict[str, Entry] = {
    **_entries(complex_numbers.CONVERTERS, "dtype"),
    **_entries(complex_numbers.RESHAPED, "size", "dim"),
}
"""By the operator's name, where it reads or gives complex numbers."""

TABLE: dict[str, Entry] = {
    **_entries(_ARITHMETIC),
    **_entries(_UNARY),
    **_entries(_SHAPES),
    **_entries(_INDEXING),
    **_entries(_REDUCTIONS),
    **_entries(_TYPED_REDUCTIONS, "dtype"),
    **_entries(_LAYERS),
    # That is for float16, in which nothing is imported.
    **_entries(_SOFTMAX, "half_to_float"),
    **_entries({"_native_batch_norm_legit_no_training.default": norms.batch_norm}, "momentum"),
    **_entries(
        {"_native_batch_norm_legit.no_stats": norms.batch_norm_of_itself}, "momentum", "training"
    ),
    **_entries({"native_group_norm.default": norms.group_norm}, "N", "HxW"),
    # It steers gradients alone, as sparse_grad does.
    **_entries(
        {"embedding.default": indexing.embedding}, "padding_idx", "scale_grad_by_freq", "sparse"
    ),
    **_entries({"_embedding_bag.default": searching.embedding_bag}, "scale_grad_by_freq", "sparse"),
    **_entries({"gather.default": indexing.gather}, "sparse_grad"),
    # Of equal elements the order is kept in any case.
    **_entries({"sort.default": reductions.sort}),
    **_entries({"sort.stable": reductions.sort}, "stable"),
    **_entries({"topk.default": reductions.topk}, "sorted"),
    **_entries({"_cdist_forward.default": reductions.distances}, "compute_mode"),
    **_entries({"_trilinear.default": layers.trilinear}, "unroll_dim"),
    **_entries(
        {
            "max_pool2d_with_indices.default": pools.max_pool2d,
            "max_pool3d_with_indices.default": pools.max_pool3d,
        }
    ),
}
"""By the operator's name."""

MADE_OF_CONSTANTS = frozenset(
    f"aten.{name}"
    for name in (
        *("arange.start_step", "arange.start", "arange.default", "eye.default", "eye.m"),
        *("full.default", "empty.memory_format", "linspace.default", "scalar_tensor.default"),
        *("full_like.default", "ones.default", "zeros.default", "empty_permuted.default"),
    )
)
"""Operators that torch computes at import."""

OF_A_SHAPE = frozenset({"aten.full_like.default"})
"""Those of them that read a tensor's shape and type alone."""
