"""Transposed convolutions by the kernels of ordinary ones: `kernels/phases.py` says how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from tvm import relax

from ...ir.convolutions import TRANSPOSED
from ..kernels.phases import (
    Phases,
    Run,
    phase_count,
    phase_weight,
    side_by_side,
    wasted_macs_count,
)
from . import layout
from .geometry import image_window
from .layer_rules import convolved
from .values import Dynamic, Static, Value
from .walk import Rule, Walk, shape_of

# Multiplying by fewer zeros than these takes less time than calling one kernel more.
_LEAST_WASTED_MACS = 1_000_000


def transposed_convolution(walk: Walk, call: relax.Call) -> Value | None:
    """One of a weight, in any number of groups."""
    weight, groups = walk.value_of(call.args[1]), int(call.attrs.groups)
    if not isinstance(weight, Static):
        return None
    x, axes = call.args[0], phases_of(call)
    runs = _runs(shape_of(x), axes, weight.array.shape[1])
    images = [_convolved(walk, x, weight, axes, run, groups) for run in runs]
    made = [image.expr for image in images if isinstance(image, Dynamic)]
    if len(made) < len(runs):
        return None
    if shape_of(made[0]) == layout.image_shape(shape_of(call)):
        return Dynamic(made[0], True)
    rows = shape_of(made[0])[1] if len(axes) == 2 else 1
    if len(axes) == 3:
        rows = shape_of(x)[3] + axes[1].start + axes[1].end
        rows -= axes[1].dilation * (axes[1].taps - 1)
    settings = {"axes": axes, "runs": runs, "rows": rows}
    per_group = shape_of(call)[1] // groups
    return Dynamic(walk.kernel(side_by_side, *made, per_group=per_group, **settings), True)


def _runs(
    shape: Sequence[int], axes: tuple[Phases, ...], per_group: int
) -> tuple[tuple[Run, ...], ...]:
    """The phases that are one convolution each: all, unless too much would be by zeros."""
    wasted = wasted_macs_count(axes, shape[0] * shape[1] * per_group)
    chosen = [axis.runs if wasted > _LEAST_WASTED_MACS else axis.whole for axis in axes]
    return tuple(product(*chosen))


def _convolved(
    walk: Walk,
    x: relax.Expr,
    weight: Static,
    axes: tuple[Phases, ...],
    run: tuple[Run, ...],
    groups: int,
) -> Value | None:
    """Some phases of each axis, as channels."""
    parts = tuple(zip(axes, run, strict=True))
    window = image_window(
        [1] * len(axes),
        [axis.start - part.unused for axis, part in parts] + [axis.end for axis in axes],
        [axis.dilation for axis in axes],
        shape_of(x),
        [axis.taps - part.unused for axis, part in parts],
    )
    return convolved(walk, x, _by_phase(weight, groups, axes, run).as_image(), window, groups)


def phases_of(call: relax.Call) -> tuple[Phases, ...]:
    """The phases along each axis that a transposed convolution moves over."""
    places, kernel, attrs = shape_of(call.args[0])[2:], shape_of(call.args[1])[2:], call.attrs
    rank = len(places)
    padding = [int(v) for v in attrs.padding]
    return tuple(
        Phases.of(
            places[i],
            kernel[i],
            stride=int(attrs.strides[i]),
            dilation=int(attrs.dilation[i]),
            padding=(padding[i], padding[rank + i]),
            more=int(attrs.output_padding[i]),
        )
        for i in range(rank)
    )


def _by_phase(
    weight: Static, groups: int, axes: tuple[Phases, ...], run: tuple[Run, ...]
) -> Static:
    """The weight of the convolution, its scales by output channel where there are such."""
    scale, phases = weight.scale, phase_count(run)
    if scale is not None and scale.size > 1:
        depthwise = groups == weight.array.shape[0] and weight.array.shape[1] == 1
        if groups == 1 and weight.scaled_along(1):
            scale = np.tile(scale, phases)
        elif depthwise and weight.scaled_along(0):
            scale = np.repeat(scale, phases)
        else:
            weight = weight.as_float()
            scale = None
    return replace(
        weight, array=phase_weight(weight.array, groups, axes, run), scale=scale, scale_axis=0
    )


RULES: dict[str, Rule] = dict.fromkeys(TRANSPOSED, transposed_convolution)
