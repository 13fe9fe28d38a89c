"""What a pass refuses to work on, in one line each."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from .layers import Layer, layers
from .model import Model
from .quantized_layers import is_quantized
from .stored_weights import SIXTEEN_BIT_TYPES


def refuse_quantized(model: Model) -> None:
    """Raise PassError where the network is quantized already."""
    if is_quantized(model):
        found = next((layer.name for layer in layers(model) if layer.quantized), model.name)
        raise PassError(f"{found} is quantized already; compress floats, and quantize last")


def refuse_rounded(model: Model) -> None:
    """Raise PassError where the network is quantized, or a layer rounded to 16 bits, already."""
    refuse_quantized(model)
    rounded = (layer for layer in layers(model) if layer.stored.dtype in SIXTEEN_BIT_TYPES)
    found = next(rounded, None)
    if found is not None:
        raise PassError(
            f"{found.name} is rounded to {found.stored.dtype} already; compress float32, and round "
            "last"
        )


def refuse_nan(model: Model, layer: Layer) -> None:
    """Raise PassError where a layer's weight cannot be rounded."""
    if not np.isfinite(model.weights[layer.weight]).all():
        raise PassError(f"the weight of {layer.name} holds NaN or infinity; it cannot be rounded")
