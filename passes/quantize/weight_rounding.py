"""Round a layer's weight to a grid: to the nearest quantized value, or by GPTQ.

GPTQ knows the second moments of what the layer reads. What it could do (scales of the largest
magnitude or of least squared error; then errors that cancel, or plain rounding) is tried on three
quarters of the positions and judged on the others; the best is done on all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.layers import Layer
from ...ir.stored_weights import Grid
from ..moments import Moments, grouped_weight, in_layer_shape, merge
from .gptq import gptq, output_error
from .weight_grid import largest_scales, nearest, searched_scales

INT8 = Grid(bits=8)
ROUNDINGS = ("nearest", "gptq")


@dataclass(frozen=True, kw_only=True)
class QuantizedWeight:
    """Quantized values (int8, in the layer's shape), scales (c_out,), and how they came."""

    rounding: str
    values: np.ndarray
    scales: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A grouped weight: quantized values int8 (G, O, F), scales (G, O, groups of features)."""

    rounding: str
    values: np.ndarray
    scales: np.ndarray


def plain_rows(weight: np.ndarray, grid: Grid, scales: np.ndarray) -> Rows:
    """Round (G, O, F) to nearest, at these scales."""
    spread = grid.spread(scales, weight.shape[-1])
    return Rows(rounding="nearest", values=nearest(weight, spread, grid), scales=scales)


def fitted_rows(
    weight: np.ndarray, parts: tuple[Moments, Moments], grid: Grid, *, about_mean: bool
) -> Rows:
    """Round (G, O, F) as the inputs want it; about their mean where the bias makes up for that."""
    most, unseen, seen = (
        (part.centre() if about_mean else part).xx for part in (*parts, merge(*parts))
    )
    power = np.einsum("gff->gf", most)

    def spread(scales: np.ndarray) -> np.ndarray:
        return grid.spread(scales, weight.shape[-1])

    def error(values: np.ndarray, scales: np.ndarray) -> float:
        return output_error(values * spread(scales) - weight, unseen)

    tried = {
        "": largest_scales(weight, grid),
        ", range searched": searched_scales(weight, grid, power),
    }
    errors = {how: error(nearest(weight, spread(at), grid), at) for how, at in tried.items()}
    how = min(errors, key=errors.__getitem__)
    scales = tried[how]
    if error(gptq(weight, scales, most, grid), scales) >= errors[how]:
        name, quantized = "nearest", nearest(weight, spread(scales), grid)
    else:
        name, quantized = "gptq", gptq(weight, scales, seen, grid)
    return Rows(rounding=name + how, values=quantized, scales=scales)


def round_to_nearest(layer: Layer, weight: np.ndarray) -> QuantizedWeight:
    """Round to nearest in 8 bits, at the scale of each channel's largest magnitude."""
    grouped = grouped_weight(layer, weight)
    return _quantized_weight(layer, plain_rows(grouped, INT8, largest_scales(grouped, INT8)))


def round_by_moments(
    layer: Layer, weight: np.ndarray, parts: tuple[Moments, Moments], *, about_mean: bool
) -> QuantizedWeight:
    """Round to 8 bits as the layer's inputs want it."""
    rows = fitted_rows(grouped_weight(layer, weight), parts, INT8, about_mean=about_mean)
    return _quantized_weight(layer, rows)


def _quantized_weight(layer: Layer, rows: Rows) -> QuantizedWeight:
    quantized = in_layer_shape(layer, rows.values)
    return QuantizedWeight(rounding=rows.rounding, values=quantized, scales=rows.scales.reshape(-1))
