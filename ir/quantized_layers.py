"""Which layers compute in 8 bits, and why the others do not.

A layer computes in integers where docs/architecture.md calls it quantized: its input is quantized
per tensor or comes in 8 bits, its weight int8 per output channel. In any other form the same
numbers come from floats.
"""

from __future__ import annotations

from tvm import relax

from .graph import Graph, is_call
from .layers import Layer, layers
from .model import Model

_QUANTIZE, _DEQUANTIZE = "relax.quantize", "relax.dequantize"
_EIGHT_BITS = ("uint8", "int8")


def is_quantized(model: Model) -> bool:
    """Whether anything in the network is quantized."""
    return any(
        is_call(value, _QUANTIZE) or is_call(value, _DEQUANTIZE)
        for _, value in Graph.of(model).bindings
    )


def integer_layers(model: Model) -> tuple[Layer, ...]:
    """The layers that compute in integers."""
    graph = Graph.of(model)
    return tuple(layer for layer in layers(model) if why_float(graph, layer) is None)


def why_float(graph: Graph, layer: Layer) -> str | None:
    """Why a layer computes in floats, or None where it does not."""
    if not layer.quantized:
        return "its weight is in floats"
    read = input_dequantize(graph, layer)
    if read is None:
        return "its input is in floats"
    if layer.stored.by_rows:
        return "its weight has 4 bits, or a scale for each group of inputs"
    if layer.stored.scale_axis != layer.output_axis:
        return "its weight has a scale for each input, not for each output"
    if read.args[1].ty.ndim:
        return "its input has a scale for each channel"
    return None


def input_dequantize(graph: Graph, layer: Layer) -> relax.Call | None:
    """The dequantization that it reads of quantized values, or of an input of 8 bits."""
    read = graph.call(layer.input, _DEQUANTIZE)
    if read is None:
        return None
    source = graph.origin(read.args[0])
    is_given = isinstance(source, relax.Var) and source not in graph.producers
    if is_given and str(source.ty.dtype) in _EIGHT_BITS:
        return read
    return None if graph.call(source, _QUANTIZE) is None else read
