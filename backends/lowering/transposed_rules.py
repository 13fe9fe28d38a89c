"""Transposed convolutions by the kernels of ordinary ones: `kernels/phases.py` says how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import relax

from ...ir.convolutions import TRANSPOSED
from ..kernels.phases import Phases, phase_count, phase_weight, side_by_side
from . import layout
from .layer_rules import convolved, image_window
from .values import Dynamic, Static, Value
from .walk import Rule, Walk, shape_of


def transposed_convolution(walk: Walk, call: relax.Call) -> Value | None:
    """One of a weight, in any number of groups."""
    weight, groups = walk.value_of(call.args[1]), int(call.attrs.groups)
    if not isinstance(weight, Static):
        return None
    shape, axes = shape_of(call.args[0]), phases_of(call)
    window = image_window(
        [1] * len(axes),
        [axis.start for axis in axes] + [axis.end for axis in axes],
        [axis.dilation for axis in axes],
        shape,
        [axis.taps for axis in axes],
    )
    by_phase = _by_phase(weight, groups, axes).as_image()
    made = convolved(walk, call.args[0], by_phase, window, groups)
    if not isinstance(made, Dynamic):
        return None
    if shape_of(made.expr) == layout.image_shape(shape_of(call)):
        return made
    rows = 1
    if len(axes) > 1:
        rows = shape[-2] + axes[-2].start + axes[-2].end - axes[-2].dilation * (axes[-2].taps - 1)
    settings = {"axes": axes, "rows": rows, "per_group": shape_of(call)[1] // groups}
    return Dynamic(walk.kernel(side_by_side, made.expr, **settings), True)


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


def _by_phase(weight: Static, groups: int, axes: tuple[Phases, ...]) -> Static:
    """The weight of the convolution, its scales by output channel where there are such."""
    scale, phases = weight.scale, phase_count(axes)
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
        weight, array=phase_weight(weight.array, groups, axes), scale=scale, scale_axis=0
    )


RULES: dict[str, Rule] = dict.fromkeys(TRANSPOSED, transposed_convolution)
