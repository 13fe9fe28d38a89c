"""Which layers compute in 8 bits, and why the others do not; networks that came quantized.

A layer computes in integers where docs/architecture.md calls it quantized: its input is levels by
tensor, its weight int8 by output channel. In any other form the same numbers come from floats.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import relax

from ..errors import PassError
from ..frontend.model import Model
from .decision import Decision, Kept
from .graph import Graph, Layer, is_call, layers

_QUANTIZE, _DEQUANTIZE = "relax.quantize", "relax.dequantize"


@dataclass(frozen=True, kw_only=True)
class Arrived:
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


def is_quantized(model: Model) -> bool:
    """Whether anything in the network is quantized."""
    return any(
        is_call(value, _QUANTIZE) or is_call(value, _DEQUANTIZE)
        for _, value in Graph.of(model).bindings
    )


def refuse_quantized(model: Model) -> None:
    """Raise PassError where the network is quantized already."""
    if is_quantized(model):
        found = next((layer.name for layer in layers(model) if layer.quantized), model.name)
        raise PassError(f"{found} is quantized already; compress floats, and quantize last")


def arrived(model: Model) -> tuple[Decision, ...]:
    """For each layer of a network that came quantized, how it came; nothing for a float one."""
    if not is_quantized(model):
        return ()
    graph = Graph.of(model)
    return tuple(_arrived(graph, layer) for layer in layers(model))


def integer_layers(model: Model) -> tuple[Layer, ...]:
    """The layers that compute in integers."""
    graph = Graph.of(model)
    return tuple(layer for layer in layers(model) if why_float(graph, layer) is None)


def why_float(graph: Graph, layer: Layer) -> str | None:
    """Why a layer computes in floats, or None where it does not."""
    if not layer.quantized:
        return "its weight is in floats"
    levels = _levels(graph, layer)
    if levels is None:
        return "its input is in floats"
    if layer.packed:
        return "its weight is packed, or has a scale for each group of inputs"
    weight = _weight(graph, layer)
    if weight.attrs.axis != layer.output_axis:
        return "its weight has a scale for each input, not for each output"
    if levels.args[1].ty.ndim:
        return "its input has a scale for each channel"
    return None


def _arrived(graph: Graph, layer: Layer) -> Arrived | Kept:
    why, levels = why_float(graph, layer), _levels(graph, layer)
    if why is not None or levels is None:
        return Kept(layer=layer.name, why=f"in floats: {why}")
    scale, zero_point = (arg.value.numpy().item() for arg in levels.args[1:3])
    return Arrived(layer=layer.name, scale=scale, zero_point=zero_point)


def _levels(graph: Graph, layer: Layer) -> relax.Call | None:
    """The dequantization of levels that a layer reads."""
    reals = graph.call(layer.input, _DEQUANTIZE)
    if reals is None or graph.call(reals.args[0], _QUANTIZE) is None:
        return None
    return reals


def _weight(graph: Graph, layer: Layer) -> relax.Call:
    read = graph.producers[layer.call].args[1]
    flipped = graph.call(read, "relax.permute_dims")
    found = graph.call(read if flipped is None else flipped.args[0], _DEQUANTIZE)
    assert found is not None, "a quantized layer's weight is dequantized"
    return found
