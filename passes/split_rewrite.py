"""Put a layer's parts in its place in the network's IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tvm import relax

from ..frontend.model import Model
from .graph import Layer, is_call, layers, variables
from .rewrite import Body, rebuild
from .split import Part, Split


def split_layers(model: Model, splits: Sequence[Split]) -> Model:
    """Return the network with each of these layers as the chain of its parts, bias on the last."""
    by_layer = {split.layer: split for split in splits}
    chosen = {layer.weight: layer for layer in layers(model) if layer.name in by_layer}
    biases = {
        layer.bias: f"{by_layer[layer.name].names()[-1]}.bias"
        for layer in chosen.values()
        if layer.bias
    }
    weights: dict[str, np.ndarray] = {}
    for name, array in model.weights.items():
        if name in chosen:
            split = by_layer[chosen[name].name]
            for part, factor in zip(split.names(), split.factors, strict=True):
                weights[f"{part}.weight"] = factor
        else:
            weights[biases.get(name, name)] = array
    return rebuild(model, weights, _Rewrite(model, chosen, by_layer, biases))


class _Rewrite:
    """Rewrites bindings: each split layer becomes a chain, its bias changes name."""

    def __init__(
        self,
        model: Model,
        chosen: Mapping[str, Layer],
        splits: Mapping[str, Split],
        biases: Mapping[str, str],
    ):
        self._names = model.weight_names()
        self._by_call = {layer.call: layer for layer in chosen.values()}
        self._chosen, self._splits, self._biases = chosen, splits, biases

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if var in self._by_call:
            return self._chain(body, self._by_call[var], value)
        names = [self._names.get(read) for read in variables(value)]
        if is_call(value, "relax.permute_dims") and names[0] in self._chosen:
            return None
        for read, name in zip(variables(value), names, strict=True):
            if name is not None and name in self._biases:
                body.bind(read, body.weight(self._biases[name]))
        return body.of(value)

    def _chain(self, body: Body, layer: Layer, value: relax.Call) -> relax.Expr:
        x, split = body.of(value.args[0]), self._splits[layer.name]
        for i, (name, part) in enumerate(zip(split.names(), split.parts, strict=True)):
            weight = body.weight(f"{name}.weight")
            if layer.kind != "dense":
                made = _conv2d(x, weight, part, value.attrs.out_dtype)
            else:
                flipped = relax.op.permute_dims(weight) if layer.transposed else None
                side = weight if flipped is None else body.emit(flipped, f"{weight.name}_t")
                made = relax.op.matmul(x, side, out_dtype=value.attrs.out_dtype)
            x = made if i == len(split.parts) - 1 else body.emit(made, f"{layer.call.name}_{i}")
        return x


def _conv2d(x: relax.Expr, weight: relax.Expr, part: Part, out_dtype: str) -> relax.Expr:
    return relax.op.nn.conv2d(
        x,
        weight,
        strides=part.strides,
        padding=part.padding,
        dilation=part.dilation,
        groups=part.groups,
        out_dtype=out_dtype,
    )
