"""Pairs of consecutive layers between which a positive scale of a channel passes unchanged.

Where y = second(f(first(x))) and f(s h) = s f(h) for every s > 0, channel by channel, the outputs
of `first` may be divided by s and the inputs of `second` multiplied with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from math import prod

import numpy as np
from tvm import relax

from ...ir.graph import Graph, is_call, shape_of
from ...ir.layers import Layer, layers, shared_weights
from ...ir.model import Model
from ..decision import Kept

HOMOGENEOUS = frozenset(
    f"relax.{name}"
    for name in (
        *("nn.relu", "nn.leakyrelu", "nn.prelu", "mean", "sum", "max", "reshape", "flatten"),
        *("squeeze", "expand_dims", "permute_dims"),
        *(
            f"nn.{pool}_pool{rank}d"
            for pool in ("max", "avg", "adaptive_avg")
            for rank in (1, 2, 3)
        ),
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
    graph, shared = Graph.of(model), shared_weights(model)
    seconds = {layer.call: layer for layer in layers(model)}
    found = []
    for layer in layers(model):
        step = _Walk(graph, seconds, shared, layer).pair()
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

    def pair(self) -> Pair | str:
        """Return the pair, or why there is none."""
        if {self.first.weight, self.first.bias} & self.shared:
            return "its weight is shared"
        var, clip, high, moved = self.first.output, None, np.inf, False
        channels = _own_channels(self.first)
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
            if clip_limit(value) is not None:
                clip, high = reader, float(clip_limit(value) or 0.0)
            moved = moved or is_call(value, "relax.reshape") or is_call(value, "relax.permute_dims")
            followed = _follow(value, channels)
            if followed is None:
                return f"{_short_name(value)} mixes its channels"
            var, channels = reader, followed
        if second.weight in self.shared:
            return f"the weight of {second.name} behind it is shared"
        others = [axis for axis in range(channels.ndim) if axis != channel_axis(second)]
        places = _drop_uniform_axes(channels, others)
        if places is None:
            return f"its channels are mixed on the way to {second.name}"
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
        if clip_limit(value) is not None:
            return "it is clipped twice, or behind a reshape" if clipped or moved else None
        if _name(value) in HOMOGENEOUS:
            return None
        read = [arg for arg in getattr(value, "args", ()) if isinstance(arg, relax.Var)]
        if len(read) > 1:
            return f"{_short_name(value)} joins its output with another value"
        return f"a scale does not pass through {_short_name(value)}"


def _name(value: relax.Expr) -> str:
    return str(getattr(getattr(value, "op", None), "name", type(value).__name__))


def _short_name(value: relax.Expr) -> str:
    return _name(value).removeprefix("relax.").removeprefix("nn.")


def clip_limit(value: relax.Expr) -> float | None:
    """Return where a call clips its argument from above, if from below it does so at zero."""
    if is_call(value, "relax.nn.relu6"):
        return 6.0
    if is_call(value, "relax.clip") and float(value.args[1].value) == 0.0:
        return float(value.args[2].value)
    return None


def _own_channels(layer: Layer) -> np.ndarray:
    """Return for each element of a layer's output which channel it is of."""
    shape = [1] * len(layer.output_shape)
    shape[channel_axis(layer)] = -1
    count = layer.output_shape[channel_axis(layer)]
    return np.broadcast_to(np.arange(count).reshape(shape), layer.output_shape)


def _follow(value: relax.Expr, channels: np.ndarray) -> np.ndarray | None:
    """Return the channel of each element of a homogeneous operator's result; None if mixed."""
    if isinstance(value, relax.Var):
        return channels
    name, shape = value.op.name.removeprefix("relax."), tuple(shape_of(value))
    if name == "permute_dims":
        return channels.transpose(value.attrs.axes and [int(axis) for axis in value.attrs.axes])
    if "_pool" in name:
        channels_of = _drop_uniform_axes(channels, range(2, channels.ndim), keepdims=True)
        return None if channels_of is None else np.broadcast_to(channels_of, shape)
    if name in ("mean", "sum", "max"):
        over = value.attrs.axis
        axes = range(channels.ndim) if over is None else [int(axis) for axis in over]
        channels_of = _drop_uniform_axes(channels, axes)
        return None if channels_of is None else channels_of.reshape(shape)
    return channels.reshape(shape)


def _drop_uniform_axes(
    channels: np.ndarray, axes: Iterable[int], *, keepdims: bool = False
) -> np.ndarray | None:
    """Drop axes along which all elements are of one channel; None if they are not."""
    over = tuple(axes)
    least = channels.min(axis=over, keepdims=keepdims)
    return least if np.array_equal(least, channels.max(axis=over, keepdims=keepdims)) else None
