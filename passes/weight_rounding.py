"""Round a layer's weight to int8, by output channel: to the nearest level, or by GPTQ.

GPTQ knows the second moments of what the layer reads. What it could do (scales of the largest
magnitude or of least squared error; then errors that cancel, or plain rounding) is tried on three
quarters of the positions and judged on the others; the best is done on all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .gptq import gptq, output_error
from .graph import Layer
from .moments import Moments, grouped_weight, merged
from .weight_grid import Grid, largest_scales, nearest, searched_scales

INT8 = Grid(bits=8)
ROUNDINGS = ("nearest", "gptq")


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A weight's levels (int8, as the weight is stored), scales (c_out,), and how they came."""

    rounding: str
    levels: np.ndarray
    scales: np.ndarray


def plainly(layer: Layer, weight: np.ndarray) -> Rounded:
    """Round to nearest, at the scale of each channel's largest magnitude."""
    grouped = grouped_weight(layer, weight)
    scales = largest_scales(grouped, INT8)
    return _rounded(layer, "nearest", nearest(grouped, scales, INT8), scales)


def fitted(
    layer: Layer, weight: np.ndarray, parts: tuple[Moments, Moments], *, about_mean: bool
) -> Rounded:
    """Round as the layer's inputs want it; about their mean where the bias makes up for that."""
    grouped = grouped_weight(layer, weight)
    most, unseen, seen = (
        (part.centred() if about_mean else part).xx for part in (*parts, merged(*parts))
    )

    def error(levels: np.ndarray, scales: np.ndarray) -> float:
        return output_error(levels * scales - grouped, unseen)

    tried = {"": largest_scales(grouped, INT8), ", range searched": _searched(grouped, most)}
    errors = {how: error(nearest(grouped, at, INT8), at) for how, at in tried.items()}
    how = min(errors, key=errors.__getitem__)
    if error(gptq(grouped, tried[how], most, INT8), tried[how]) >= errors[how]:
        name, levels = "nearest", nearest(grouped, tried[how], INT8)
    else:
        name, levels = "gptq", gptq(grouped, tried[how], seen, INT8)
    return _rounded(layer, name + how, levels, tried[how])


def _searched(weight: np.ndarray, moment: np.ndarray) -> np.ndarray:
    return searched_scales(weight, INT8, np.einsum("gff->gf", moment))


def _rounded(layer: Layer, rounding: str, levels: np.ndarray, scales: np.ndarray) -> Rounded:
    if layer.kind == "dense":
        stored = levels[0] if layer.transposed else np.ascontiguousarray(levels[0].T)
    else:
        stored = levels.reshape(layer.weight_shape)
    return Rounded(rounding=rounding, levels=stored, scales=scales.reshape(-1))
