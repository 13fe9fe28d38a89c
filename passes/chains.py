"""Pairs of consecutive layers between which a positive scale of a channel passes unchanged.

Where y = second(f(first(x))) and f(s h) = s f(h) for every s > 0, channel by channel, the outputs
of `first` may be divided by s and the inputs of `second` multiplied with it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from math import prod

import numpy as np
from tvm import relax

from ..frontend.model import Model
from .coupling import Coupling, coupling
from .decision import Kept
from .graph import Graph, Layer, is_call, layers, shared_weights

HOMOGENEOUS = frozenset(
    f"relax.{name}"
    for name in (
        *("nn.relu", "nn.leakyrelu", "nn.prelu", "nn.max_pool2d", "nn.avg_pool2d"),
        *("nn.adaptive_avg_pool2d", "mean", "sum", "max", "reshape", "flatten", "squeeze"),
        *("expand_dims", "permute_dims"),
    )
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """`places` (c_in,) tells for each input channel of `second` which output of `first` it is.

    `clip` is the variable of a clip to [0, `high`] in between, if there is one: it lets scales
    pass only if each channel gets a limit of its own.
    """

    first: Layer
    second: Layer
    places: np.ndarray
    clip: relax.Var | None = None
    high: float = np.inf

    def features(self) -> np.ndarray:
        """Return for each feature of second's grouped weight (G, F) the output of `first`."""
        window = prod(self.second.weight_shape[2:]) if self.second.kind != "dense" else 1
        return np.repeat(self.places.reshape(self.second.groups, -1), window, axis=1)


def pairs(model: Model) -> tuple[Pair | Kept, ...]:
    """Find the pair that each layer is first in, or say why there is none."""
    graph, coupled, shared = Graph.of(model), coupling(model), shared_weights(model)
    seconds = {layer.call: layer for layer in layers(model)}
    found = []
    for layer in layers(model):
        step = _Walk(graph, seconds, shared, layer).pair(coupled)
        found.append(Kept(layer=layer.name, why=step) if isinstance(step, str) else step)
    return tuple(found)


def channel_axis(layer: Layer) -> int:
    """Return the axis of a layer's input and output that counts channels."""
    return 1 if layer.kind != "dense" else len(layer.output_shape) - 1


@dataclass(frozen=True, eq=False)
class _Walk:
    """Follows the one reader of a layer's output to the next layer."""

    graph: Graph
    seconds: dict[relax.Var, Layer]
    shared: Set[str]
    first: Layer

    def pair(self, coupled: Coupling) -> Pair | str:
        """Return the pair, or why there is none."""
        if {self.first.weight, self.first.bias} & self.shared:
            return "its weight is shared"
        var, clip, high, moved = self.first.output, None, np.inf, False
        while True:
            reader = self._reader(var)
            if isinstance(reader, str):
                return reader
            second, value = self.seconds.get(reader), self.graph.producers[reader]
            if second is not None and self.graph.origin(second.input).same_as(var):
                break
            why = self._why_not(value, clipped=clip is not None, moved=moved)
            if why:
                return why
            if limit(value) is not None:
                clip, high = reader, float(limit(value) or 0.0)
            moved = moved or is_call(value, "relax.reshape") or is_call(value, "relax.permute_dims")
            var = reader
        if second.weight in self.shared:
            return f"the weight of {second.name} behind it is shared"
        places = _places(coupled, self.first, second)
        if isinstance(places, str):
            return places
        return Pair(first=self.first, second=second, places=places, clip=clip, high=high)

    def _reader(self, var: relax.Var) -> relax.Var | str:
        readers = self.graph.consumers.get(var, ())
        if var in self.graph.outputs():
            return "its output is the network's"
        if len(readers) != 1:
            return f"its output has {len(readers)} readers"
        return readers[0]

    def _why_not(self, value: relax.Expr, *, clipped: bool, moved: bool) -> str | None:
        if isinstance(value, relax.Var):
            return None
        if limit(value) is not None:
            return "it is clipped twice, or behind a reshape" if clipped or moved else None
        name = getattr(getattr(value, "op", None), "name", type(value).__name__)
        if name in HOMOGENEOUS:
            return None
        short = name.removeprefix("relax.").removeprefix("nn.")
        read = [arg for arg in getattr(value, "args", ()) if isinstance(arg, relax.Var)]
        if len(read) > 1:
            return f"{short} joins its output with another value"
        return f"a scale does not pass through {short}"


def limit(value: relax.Expr) -> float | None:
    """Return where a call clips its argument from above, if from below it does so at zero."""
    if is_call(value, "relax.nn.relu6"):
        return 6.0
    if is_call(value, "relax.clip") and float(value.args[1].value) == 0.0:
        return float(value.args[2].value)
    return None


def _places(coupled: Coupling, first: Layer, second: Layer) -> np.ndarray | str:
    """Find the channels of `first` among the inputs of `second`, by their slots."""
    count = first.output_shape[channel_axis(first)]
    given = second.input_shape[channel_axis(second)]
    if count == 1:
        return np.zeros(given, np.int64)
    outputs = coupled.axes[first.output][channel_axis(first)]
    inputs = coupled.axes[second.input][channel_axis(second)]
    if outputs is None or inputs is None or not set(inputs) <= set(outputs):
        return f"its channels are mixed on the way to {second.name}"
    if len(set(outputs)) < count:
        return "some of its channels are tied to each other"
    at = {root: channel for channel, root in enumerate(outputs)}
    return np.array([at[root] for root in inputs])
