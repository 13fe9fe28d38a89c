"""Move outliers of activations into the weights of the dense layers that read them.

Before  y = x @ W                    x (…, c) of a norm, W (c, n) of each dense layer that reads x
After   y = (x / s) @ (s W)          s (c,) = max|x|^a / max|W|^(1 - a), a the strength
        into the norm: its scale and shift are divided by s, where dense layers alone read x;
        by a multiplication: x times 1 / s (c,), read by the dense layers, where others read x too
        both magnitudes count as shares of the largest, since a factor common to all changes nothing

The network computes what it did. One scale serves a whole tensor of activations in int8, but each
output channel of a weight has its own, and weights have few outliers: so they bear more range.

Source  G. Xiao et al., SmoothQuant, ICML 2023, section 4 and equation 4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from tvm import relax

from ...errors import PassError
from ...ir.checks import refuse_rounded
from ...ir.graph import Graph, is_call, shape_of
from ...ir.layers import Layer, layers, shared_weights
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from ...reference.execution import Execution
from ...reference.executor import calibration_inputs
from ..decision import Decision, Kept, Pass
from ..moments import grouped_weight, layer_weight

if TYPE_CHECKING:
    from ...frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """Dense layers `readers` whose common input is divided by `scales` (c,).

    `absorbed` names the weights that do so; where there are none, a multiplication does.
    """

    layer: str
    readers: tuple[str, ...]
    absorbed: tuple[str, ...]
    outlier_before_ratio: float
    outlier_after_ratio: float
    scales: np.ndarray = field(repr=False, compare=False)

    def describe(self) -> str:
        """Say in one line who divides, and how far the largest channel stood out."""
        how = f"by {' and '.join(self.absorbed)}" if self.absorbed else "by a multiplication"
        return (
            f"{' + '.join(self.readers)}: input divided by {self.scales.min():.3g} to "
            f"{self.scales.max():.3g} {how}; its largest channel over the median one "
            f"{self.outlier_before_ratio:.3g} -> {self.outlier_after_ratio:.3g}"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class NormReaders:
    """A norm's output, the dense layers that read it, and the weights that could scale it."""

    readers: tuple[Layer, ...]
    absorbed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Smooth(Pass):
    """Move the share `strength` of activations' range into weights, behind norms.

    Before `Quantize`.
    """

    strength: float = 0.5
    needs_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.strength < 1:
            raise PassError(f"strength is {self.strength}; choose a value between 0 and 1")

    def plan(self, model: Model, calibration: Dataset | None) -> tuple[Decision, ...]:
        """Choose scales for every norm that dense layers read; other layers say why not."""
        if calibration is None:
            raise PassError("smoothing needs calibration data; give a data set")
        refuse_rounded(model)
        spots, kept = _norm_readers(model)
        largest = _channel_maxima(model, calibration, spots)
        return (*(self._decide(model, spot, largest[var]) for var, spot in spots.items()), *kept)

    def apply(self, model: Model, decisions: Sequence[Decision]) -> Model:
        """Return the network with divided activations and multiplied weights."""
        smoothed = [d for d in decisions if isinstance(d, Smoothed)]
        weights = dict(model.weights)
        divided: dict[relax.Var, str] = {}
        by_name = {layer.name: layer for layer in layers(model)}
        for decision in smoothed:
            for name in decision.readers:
                layer = by_name[name]
                columns = grouped_weight(layer, weights[layer.weight]) * decision.scales
                weights[layer.weight] = layer_weight(layer, columns)
            for name in decision.absorbed:
                weights[name] = (weights[name] / decision.scales).astype(np.float32)
            if not decision.absorbed:
                name = f"{decision.layer}.smooth"
                weights[name] = (1.0 / decision.scales).astype(np.float32)
                divided |= {by_name[reader].call: name for reader in decision.readers}
        return rebuild(model, weights, _DivideInputs(divided))

    def _decide(self, model: Model, spot: NormReaders, x: np.ndarray) -> Smoothed:
        columns = [
            np.abs(grouped_weight(layer, model.weights[layer.weight])[0]).max(axis=0)
            for layer in spot.readers
        ]
        weight = np.max(columns, axis=0)
        scales = _floor(x) ** self.strength / _floor(weight) ** (1 - self.strength)
        return Smoothed(
            layer=spot.readers[0].name,
            readers=tuple(layer.name for layer in spot.readers),
            absorbed=spot.absorbed,
            outlier_before_ratio=_outlier(x),
            outlier_after_ratio=_outlier(x / scales),
            scales=scales,
        )


def _norm_readers(model: Model) -> tuple[dict[relax.Var, NormReaders], tuple[Kept, ...]]:
    """Find where dense layers read a norm, and say of every other layer why it is left alone."""
    graph, names, shared = Graph.of(model), model.weight_names(), shared_weights(model)
    reading: dict[relax.Var, list[Layer]] = {}
    kept = []
    for layer in layers(model):
        scale = _norm_weights(graph, names, layer.input)
        if layer.kind != "dense":
            kept.append(Kept(layer=layer.name, why="a convolution"))
        elif layer.weight in shared:
            kept.append(Kept(layer=layer.name, why="its weight is shared"))
        elif scale is None:
            kept.append(Kept(layer=layer.name, why="its input is not a norm's"))
        else:
            reading.setdefault(layer.input, []).append(layer)
    spots = {}
    for var, readers in reading.items():
        absorbed = _norm_weights(graph, names, var) or ()
        alone = {layer.call for layer in readers} == set(graph.consumers[var])
        if not alone or var in graph.outputs() or shared & set(absorbed):
            absorbed = ()
        spots[var] = NormReaders(readers=tuple(readers), absorbed=absorbed)
    return spots, tuple(kept)


def _norm_weights(
    graph: Graph, names: Mapping[relax.Var, str], var: relax.Var
) -> tuple[str, ...] | None:
    """Name the weights (c,) that scale a norm's last axis; None where `var` is not a norm's."""
    value = graph.producers.get(var)
    if value is None:
        return None
    if is_call(value, "relax.nn.layer_norm") or is_call(value, "relax.nn.rms_norm"):
        last = len(shape_of(value)) - 1
        if [int(axis) % (last + 1) for axis in value.attrs.axes] != [last]:
            return None
        found = [names.get(graph.origin(arg)) for arg in value.args[1:]]
        flags = [getattr(value.attrs, flag, True) for flag in ("scale", "center")]
        return tuple(name for name in found if name) if all((*found, *flags)) else ()
    if is_call(value, "relax.multiply"):
        found = [names.get(graph.origin(arg)) for arg in value.args]
        return (
            tuple(
                name
                for name, arg in zip(found, value.args, strict=True)
                if name and shape_of(arg) == shape_of(value)[-1:]
            )
            or None
        )
    return None


def _channel_maxima(
    model: Model, calibration: Dataset, wanted: Mapping[relax.Var, NormReaders]
) -> dict[relax.Var, np.ndarray]:
    """Return the largest magnitude of each channel (c,) over calibration samples."""
    found = {}
    for var, value in Execution(model, calibration_inputs(model, calibration)):
        if var in wanted:
            found[var] = value.abs().flatten(0, -2).amax(dim=0).double().numpy()
            if not np.isfinite(found[var]).all():
                raise PassError(
                    f"{var.name} becomes NaN or infinite on the calibration data; "
                    "check the network and its data"
                )
    return found


def _floor(values: np.ndarray) -> np.ndarray:
    """Let no channel count for less than a thousandth of the largest; all ones if all are zero."""
    largest = values.max()
    return np.maximum(values / largest, 1e-3) if largest > 0 else np.ones_like(values)


def _outlier(values: np.ndarray) -> float:
    return float(values.max() / max(float(np.median(values)), 1e-30))


class _DivideInputs:
    """Rewrites layers to read their input times the weight named for each."""

    def __init__(self, divided: Mapping[relax.Var, str]):
        self._divided = divided
        self._made: dict[str, relax.Var] = {}

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var not in self._divided:
            return body.of(value)
        name, x = self._divided[var], body.of(value.args[0])
        if name not in self._made:
            self._made[name] = body.emit(relax.op.multiply(x, body.weight(name)), f"{var.name}_in")
        return relax.Call(value.op, [self._made[name], body.of(value.args[1])], value.attrs)
