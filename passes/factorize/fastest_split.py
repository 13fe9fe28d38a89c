"""Choose the form whose parts run fastest, or keep the layer whole where none saves time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import PassError
from ...ir.layers import Layer
from ...ir.model import Model
from ...ir.pieces.extract import extract_layer
from ..decision import Kept, LayerTimer
from .split import Split
from .split_layers import split_layers

LEAST_GAIN = 0.05
"""What parts must gain of the whole layer's time, as a share."""


def fastest_split(
    model: Model, layer: Layer, splits: Sequence[Split], timer: LayerTimer
) -> Split | Kept:
    """Time a layer alone, whole and in each form, and return the fastest that is worth it."""
    whole = extract_layer(model, layer)
    times = timer([whole, *(split_layers(whole, [split]) for split in splits)])
    if len(times) != 1 + len(splits) or not all(0 < time_ms < float("inf") for time_ms in times):
        raise PassError(
            f"the timer gave {tuple(times)} for {layer.name}; give milliseconds of each"
        )
    whole_ms, *parts_ms = times
    best_ms, best = min(zip(parts_ms, splits, strict=True), key=lambda pair: pair[0])
    if best_ms > (1 - LEAST_GAIN) * whole_ms:
        return Kept(
            layer=layer.name,
            why=f"{best.form} in {len(best.parts)} takes {best_ms:.4g} ms, the whole layer "
            f"{whole_ms:.4g} ms",
        )
    return replace(best, whole_ms=whole_ms, parts_ms=best_ms)
