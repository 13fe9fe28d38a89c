"""The layers of a network that came quantized: how each one computes."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.graph import Graph
from ...ir.layers import Layer, layers
from ...ir.model import Model
from ...ir.quantized_layers import input_dequantize, is_quantized, why_float
from ..decision import Decision, Kept


@dataclass(frozen=True, kw_only=True)
class ImportedLayer:
    """A layer that came in 8 bits, with the scale and zero point of its input."""

    layer: str
    scale: float
    zero_point: int

    def describe(self) -> str:
        """Say in one line how the layer is quantized."""
        return (
            f"{self.layer}: came in int8, input scale {self.scale:.4g}, "
            f"zero point {self.zero_point}"
        )


def imported_layers(model: Model) -> tuple[Decision, ...]:
    """For each layer of a network that came quantized, how it came; nothing for a float one."""
    if not is_quantized(model):
        return ()
    graph = Graph.of(model)
    return tuple(_imported_layer(graph, layer) for layer in layers(model))


def _imported_layer(graph: Graph, layer: Layer) -> ImportedLayer | Kept:
    why, read = why_float(graph, layer), input_dequantize(graph, layer)
    if why is not None or read is None:
        return Kept(layer=layer.name, why=f"in floats: {why}")
    scale, zero_point = (arg.value.numpy().item() for arg in read.args[1:3])
    return ImportedLayer(layer=layer.name, scale=scale, zero_point=zero_point)
