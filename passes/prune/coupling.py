"""Which channels must go together: groups of coupled layers, found by following the graph.

Every index along an axis of a weight is a slot. Following each call (`axes.RULES`) ties slots that
only make sense together: a convolution's output channel, its bias, the input channel of every
layer that reads it, the channels that a residual add or a gate brings to it; all channels of one
attention head in queries, keys, values and the projection behind them. All slots tied to one
output channel are an atom; atoms that touch the same weights in the same way form a group.

Source  G. Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, for the idea of groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tvm import relax
from tvm.ir import GenericConst

from ...ir.graph import Graph, shape_of
from ...ir.layers import Layer, layers
from ...ir.model import Model
from .axes import RULES, no_axes, pin_unknown
from .reshapes import shuffles
from .slots import Axes, AxisSplit, Slots

Holder: TypeAlias = str | relax.Expr
"""What holds slots: a weight, by its name, or a constant of the IR."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Layers whose output channels can only be removed together.

    `channels` counts those of the first layer, `unit` how many of them go at once (an attention
    head's, say). `why` says why none can be removed; None where they can.
    """

    layers: tuple[str, ...]
    channels: int
    unit: int = 1
    why: str | None = None

    @property
    def units(self) -> int:
        """How many units of channels the group has to choose from."""
        return self.channels // self.unit

    def describe(self) -> str:
        """Say in one line which layers are coupled."""
        units = f" in {self.units} units" if self.unit > 1 else ""
        stays = f", stays: {self.why}" if self.why else ""
        return f"{' + '.join(self.layers)}: {self.channels} channels{units}{stays}"


@dataclass(frozen=True, eq=False)
class Coupling:
    """The groups of a network, and what each of their atoms touches.

    `atoms[i][j]` lists the (holder, axis, index) triples that atom j of group i removes.
    `axes` gives, for every variable and constant, the root slots along each of its axes.
    """

    groups: tuple[Group, ...]
    atoms: tuple[tuple[tuple[tuple[Holder, int, int], ...], ...], ...]
    roots: tuple[tuple[int, ...], ...] = field(repr=False)
    axes: Mapping[relax.Expr, Any] = field(repr=False)


def coupling(model: Model) -> Coupling:
    """Follow the graph and group the output channels of every layer.

    Where a reshape splits an axis so that its channels must stay, another of the new axes is tried.
    """
    graph, choices = Graph.of(model), Counter[Any]()
    begin_shuffles = shuffles(graph)
    while True:
        slots = Slots(choices, begin_shuffles)
        axes = _follow_graph(model, graph, slots)
        stuck = next((p.key for p in slots.axis_splits if _can_go_on(slots, p, choices)), None)
        if stuck is None:
            break
        choices[stuck] += 1
    names = model.weight_names()
    holders: dict[Holder, Axes] = {
        names.get(key, key): value
        for key, value in axes.items()
        if key in names or not isinstance(key, relax.Var)
    }
    return _group_atoms(model, slots, axes, holders)


def _can_go_on(slots: Slots, split_axis: AxisSplit, choices: Mapping[Any, int]) -> bool:
    more = choices[split_axis.key] + 1 < len(split_axis.options)
    return more and slots.any_pinned(split_axis.slots)


def _follow_graph(model: Model, graph: Graph, slots: Slots) -> dict[relax.Expr, Any]:
    axes: dict[relax.Expr, Any] = {}
    names = model.weight_names()
    for var in model.function.params:
        axes[var] = slots.new_slots(shape_of(var))
        if var not in names:
            slots.pin(axes[var], "network input")
    for var, value in graph.bindings:
        axes[var] = _follow(slots, axes, value)
    for var in graph.outputs():
        slots.pin(axes[var], "network output")
    return axes


def groups(model: Model) -> tuple[Group, ...]:
    """List the groups of coupled layers, in the order of computation."""
    return coupling(model).groups


def _follow(slots: Slots, axes: dict[relax.Expr, Any], value: relax.Expr) -> Any:
    if isinstance(value, relax.Var):
        return axes[value]
    if isinstance(value, relax.Tuple):
        return tuple(_follow(slots, axes, item) for item in value.fields)
    if isinstance(value, relax.TupleGetItem):
        return _follow(slots, axes, value.tuple_value)[value.index]
    if isinstance(value, relax.Call):
        args = [_follow(slots, axes, arg) for arg in value.args]
        return RULES.get(value.op.name, pin_unknown)(slots, value, args)
    if isinstance(value, GenericConst):
        if value not in axes:
            axes[value] = slots.new_slots(shape_of(value))
        return axes[value]
    return no_axes(value)


def _group_atoms(
    model: Model, slots: Slots, axes: dict[relax.Expr, Any], holders: Mapping[Holder, Axes]
) -> Coupling:
    touched: dict[int, list[tuple[Holder, int, int]]] = {}
    for holder, holder_axes in holders.items():
        for at, axis in enumerate(holder_axes):
            for index, slot in enumerate(() if axis is None else axis):
                touched.setdefault(slots.root(int(slot)), []).append((holder, at, index))
    members: dict[tuple[Any, ...], list[int]] = {}
    producers: dict[tuple[Any, ...], list[str]] = {}
    units: dict[tuple[Any, ...], int] = {}
    for layer in layers(model):
        for root in _output_roots(layer, slots, holders):
            kind = Counter((holder, at) for holder, at, _ in touched[root])
            key = (frozenset(kind.items()), slots.why_pinned(root))
            if root not in members.setdefault(key, []):
                members[key].append(root)
                units.setdefault(key, kind[layer.weight, layer.output_axis])
            if layer.name not in producers.setdefault(key, []):
                producers[key].append(layer.name)
    found = tuple(
        Group(
            layers=tuple(producers[key]),
            channels=units[key] * len(roots),
            unit=units[key],
            why=key[1],
        )
        for key, roots in members.items()
    )
    atoms = tuple(tuple(tuple(touched[r]) for r in roots) for roots in members.values())
    at_roots = _root_axes(slots, axes)
    return Coupling(found, atoms, tuple(map(tuple, members.values())), at_roots)


def _output_roots(layer: Layer, slots: Slots, holders: Mapping[Holder, Axes]) -> list[int]:
    axis = holders[layer.weight][layer.output_axis]
    return [] if axis is None else [int(root) for root in slots.roots(axis)]


def _root_axes(slots: Slots, axes: Mapping[relax.Expr, Any]) -> dict[relax.Expr, Any]:
    def roots(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(roots(item) for item in value)
        return None if value is None else slots.roots(value)

    return {key: roots(value) for key, value in axes.items()}
