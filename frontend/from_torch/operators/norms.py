"""Normalization. Of what training needs beside the output, nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ....ir.edit import shape_of
from ..operator_call import OperatorCall


def _or_const(value: relax.Expr | None, shape: Sequence[int], number: float) -> relax.Expr:
    if value is not None:
        return value
    return relax.const(np.full(tuple(shape), number, "float32"), "float32")


def batch_norm(
    call: OperatorCall,
    input: relax.Expr,
    weight: relax.Expr | None,
    bias: relax.Expr | None,
    running_mean: relax.Expr,
    running_var: relax.Expr,
    eps: float,
) -> list[Any]:
    """By running statistics; `fold.lower_batch_norm` folds it."""
    channels = shape_of(input)[1:2]
    normal = relax.op.nn.batch_norm(
        input,
        _or_const(weight, channels, 1.0),
        _or_const(bias, channels, 0.0),
        running_mean,
        running_var,
        axis=1,
        epsilon=eps,
        training=False,
    )
    bound = call.emit(lambda: normal)
    return [call.emit(relax.TupleGetItem, bound, 0), None, None]


def batch_norm_of_itself(
    call: OperatorCall,
    input: relax.Expr,
    weight: relax.Expr | None,
    bias: relax.Expr | None,
    eps: float,
) -> list[Any]:
    """By the statistics of this input: batch norm without running ones, and instance norm."""
    shape = shape_of(input)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    mean = call.emit(relax.op.mean, input, axes, True)
    variance = call.emit(relax.op.variance, input, axes, True)
    centred = call.emit(relax.op.subtract, input, mean)
    shifted = call.emit(relax.op.add, variance, call.cast(eps))
    y = call.emit(relax.op.multiply, centred, call.emit(relax.op.rsqrt, shifted))
    along = [extent if axis == 1 else 1 for axis, extent in enumerate(shape)]
    for operator, value in ((relax.op.multiply, weight), (relax.op.add, bias)):
        if value is not None:
            y = call.emit(operator, y, call.reshape(value, along))
    return [y, None, None]


def layer_norm(
    call: OperatorCall,
    input: relax.Expr,
    normalized_shape: Sequence[int],
    weight: relax.Expr | None,
    bias: relax.Expr | None,
    eps: float,
) -> list[Any]:
    """Over the last axes."""
    normal = call.emit(
        relax.op.nn.layer_norm,
        input,
        _or_const(weight, normalized_shape, 1.0),
        _or_const(bias, normalized_shape, 0.0),
        axes=list(range(-len(normalized_shape), 0)),
        epsilon=eps,
    )
    return [normal, None, None]


def group_norm(
    call: OperatorCall,
    input: relax.Expr,
    weight: relax.Expr | None,
    bias: relax.Expr | None,
    C: int,
    group: int,
    eps: float,
) -> list[Any]:
    """Over groups of channels and all places."""
    shape = shape_of(input)
    flat = input if len(shape) > 2 else call.reshape(input, (*shape, 1))
    normal = call.emit(
        relax.op.nn.group_norm,
        flat,
        _or_const(weight, (C,), 1.0),
        _or_const(bias, (C,), 0.0),
        num_groups=group,
        channel_axis=1,
        axes=list(range(2, len(shape_of(flat)))),
        epsilon=eps,
    )
    return [call.reshape(normal, shape), None, None]
