"""Take slots out of a network: slice its weights and constants, and fit the calls to them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from ...ir.convolutions import is_convolution, regroup
from ...ir.graph import is_call, shape_of
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from .concat_split import slices_of


def slice_channels(model: Model, axes: Mapping[relax.Expr, Any], removed: Set[int]) -> Model:
    """Return the network without the slots whose roots are in `removed`.

    `axes` gives the root slots along every axis of every variable and constant (Coupling.axes).
    """
    weights = {
        name: _slice_array(array, axes[var], removed)
        for (name, array), var in zip(
            model.weights.items(), model.weight_vars().values(), strict=True
        )
    }

    def rewrite(body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        for arg in value.args if isinstance(value, relax.Call) else ():
            if isinstance(arg, GenericConst) and shape_of(arg):
                body.bind(arg, relax.const(_slice_array(arg.value.numpy(), axes[arg], removed)))
        source = axes.get(value.args[0]) if isinstance(value, relax.Call) and value.args else None
        return _copy(body, value, axes[var], source, removed)

    return rebuild(model, weights, rewrite)


def _slice_array(array: np.ndarray, axes: Any, removed: Set[int]) -> np.ndarray:
    for at, axis in enumerate(axes):
        kept = _kept_indices(axis, removed)
        if kept is not None and len(kept) < len(axis):
            array = np.take(array, kept, axis=at)
    return array


def _kept_indices(axis: np.ndarray | None, removed: Set[int]) -> np.ndarray | None:
    if axis is None:
        return None
    return np.flatnonzero([int(root) not in removed for root in axis])


def _copy(body: Body, value: relax.Expr, axes: Any, source: Any, removed: Set[int]) -> relax.Expr:
    """Copy a binding's value; shapes, cut points and group counts follow the channels.

    `axes` are those of the value, `source` those of its first argument.
    """
    if is_call(value, "relax.reshape"):
        return relax.op.reshape(body.of(value.args[0]), _shape(value, axes, removed))
    if is_call(value, "relax.broadcast_to"):
        return relax.op.broadcast_to(body.of(value.args[0]), _shape(value, axes, removed))
    if is_call(value, "relax.split"):
        along = int(value.attrs.axis)
        fields = zip(value.ty.fields, axes, strict=True)
        sizes = [_sizes(tuple(map(int, f.shape.values)), a, removed)[along] for f, a in fields]
        at = [int(cut) for cut in np.cumsum(sizes)[:-1]]
        return relax.op.split(body.of(value.args[0]), at, along)
    if is_call(value, "relax.strided_slice"):
        return _strided_slice(body, value, source, removed)
    if is_call(value, "relax.nn.group_norm"):
        return _group_norm(body, value)
    if is_convolution(value) and int(value.attrs.groups) > 1:
        return regroup(value, body.of(value.args[0]), body.of(value.args[1]))
    return body.of(value)


def _strided_slice(body: Body, value: relax.Call, source: Any, removed: Set[int]) -> relax.Expr:
    """Cut from as many channels on as are left before the old cut."""
    parts = slices_of(value)
    for along, part in parts.items():
        kept = _kept_indices(source[along], removed)
        if kept is not None:
            start, stop = (int(np.searchsorted(kept, at)) for at in (part.start, part.stop))
            parts[along] = slice(start, stop, part.step)
    starts, ends, steps = zip(*((p.start, p.stop, p.step) for p in parts.values()), strict=True)
    x = body.of(value.args[0])
    return relax.op.strided_slice(x, list(parts), list(starts), list(ends), list(steps))


def _group_norm(body: Body, value: relax.Call) -> relax.Expr:
    x, *weights = (body.of(arg) for arg in value.args)
    attrs, at = value.attrs, int(value.attrs.channel_axis)
    size = shape_of(value)[at] // int(attrs.num_groups)
    return relax.op.nn.group_norm(
        x,
        *weights,
        num_groups=shape_of(x)[at] // size,
        channel_axis=at,
        axes=[int(axis) for axis in attrs.axes],
        epsilon=attrs.epsilon,
        center=attrs.center,
        scale=attrs.scale,
    )


def _shape(value: relax.Expr, axes: Any, removed: Set[int]) -> tuple[int, ...]:
    return _sizes(shape_of(value), axes, removed)


def _sizes(shape: tuple[int, ...], axes: Any, removed: Set[int]) -> tuple[int, ...]:
    kept = (_kept_indices(axis, removed) for axis in axes)
    return tuple(
        size if rest is None else len(rest) for size, rest in zip(shape, kept, strict=True)
    )
