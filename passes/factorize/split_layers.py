"""Replace layers by their parts in the network's IR, and find layers that are parts already.

A chain: the bias goes to the last part.
Branches: each of the parts side by side gets its share of the bias; their outputs are concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tvm import relax

from ...ir.convolutions import convolve
from ...ir.graph import is_call, variables
from ...ir.layers import Layer, layers
from ...ir.model import Model
from ...ir.rewrite import Body, rebuild
from .split import Part, Split


def split_layers(model: Model, splits: Sequence[Split]) -> Model:
    """Return the network with the parts of each of these layers in its place."""
    by_layer = {split.layer: split for split in splits}
    chosen = {layer.weight: layer for layer in layers(model) if layer.name in by_layer}
    biased = {layer.bias: by_layer[layer.name] for layer in chosen.values() if layer.bias}
    weights: dict[str, np.ndarray] = {}
    for name, array in model.weights.items():
        if name in chosen:
            split = by_layer[chosen[name].name]
            for part, factor in zip(split.names(), split.factors, strict=True):
                weights[f"{part}.weight"] = factor
        elif name in biased:
            for part, share in biased[name].output_branches():
                weights[f"{part}.bias"] = array[share]
        else:
            weights[name] = array
    return rebuild(model, weights, _Rewrite(model, chosen, by_layer, biased))


class _Rewrite:
    """Rewrites bindings: each split layer becomes its parts, its bias theirs."""

    def __init__(
        self,
        model: Model,
        chosen: Mapping[str, Layer],
        splits: Mapping[str, Split],
        biased: Mapping[str, Split],
    ):
        self._names = model.weight_names()
        self._by_call = {layer.call: layer for layer in chosen.values()}
        self._concatenated = {
            layer.output: layer
            for layer in chosen.values()
            if layer.bias and splits[layer.name].branches > 1
        }
        self._chosen, self._splits, self._biased = chosen, splits, biased

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if var in self._by_call:
            return self._parts(body, self._by_call[var], value)
        if var in self._concatenated:  # the parts have the bias already
            return body.of(self._concatenated[var].call)
        names = [self._names.get(read) for read in variables(value)]
        if is_call(value, "relax.permute_dims") and names[0] in self._chosen:
            return None
        for read, name in zip(variables(value), names, strict=True):
            if name is None or name not in self._biased:
                continue
            split = self._biased[name]
            if split.branches > 1:
                return None
            body.bind(read, body.weight(f"{split.names()[-1]}.bias"))
        return body.of(value)

    def _parts(self, body: Body, layer: Layer, value: relax.Call) -> relax.Expr:
        x, split = body.of(value.args[0]), self._splits[layer.name]
        parts = tuple(zip(split.names(), split.parts, strict=True))
        chain, branches = parts[: -split.branches], parts[-split.branches :]
        for name, part in chain:
            x = body.emit(_call_part(body, layer, value, x, name, part), f"{layer.call.name}_in")
        if split.branches == 1:
            return _call_part(body, layer, value, x, *branches[0])
        return relax.op.concat(
            [_branch(body, layer, value, x, *branch) for branch in branches], axis=1
        )


def _branch(
    body: Body, layer: Layer, value: relax.Call, x: relax.Expr, name: str, part: Part
) -> relax.Expr:
    """One of several branches, its share of the bias added."""
    made = body.emit(_call_part(body, layer, value, x, name, part), f"{layer.call.name}_branch")
    if layer.bias is None:
        return made
    shape = (1, part.shape[0], *[1] * (len(part.shape) - 2))
    bias = relax.op.reshape(body.weight(f"{name}.bias"), shape)
    added = relax.op.add(made, body.emit(bias, f"{layer.call.name}_bias"))
    return body.emit(added, f"{layer.call.name}_biased")


def _call_part(
    body: Body, layer: Layer, value: relax.Call, x: relax.Expr, name: str, part: Part
) -> relax.Expr:
    """One part's convolution or matrix product."""
    weight = body.weight(f"{name}.weight")
    if layer.kind == "dense":
        if layer.transposed:
            weight = body.emit(relax.op.permute_dims(weight), f"{weight.name}_t")
        return relax.op.matmul(x, weight, out_dtype=value.attrs.out_dtype)
    moves = {"strides": part.strides, "padding": part.padding, "dilation": part.dilation}
    return convolve(value.op.name, x, weight, value.attrs, groups=part.groups, **moves)


def factorized_layers(model: Model) -> frozenset[str]:
    """Name every layer `a.i` that, with nothing between, reads another `a.j`, or is read so.

    Two linear layers in a row are one factorized layer already, whoever wrote them.
    """
    by_call = {layer.call: layer.name for layer in layers(model) if layer.bias is None}
    found: set[str] = set()
    for layer in layers(model):
        before = by_call.get(layer.input)
        if before is not None and _whole_name(before) == _whole_name(layer.name) is not None:
            found |= {before, layer.name}
    return frozenset(found)


def _whole_name(name: str) -> str | None:
    whole, _, number = name.rpartition(".")
    return whole if number.isdigit() else None
