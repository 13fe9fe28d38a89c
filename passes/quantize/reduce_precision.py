"""Rebuild a network so that chosen layers read rounded weights and activations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from tvm import relax

from ...ir.graph import Graph, is_call, variables
from ...ir.layers import Layer
from ...ir.model import Model
from ...ir.rewrite import Body
from ...ir.stored_weights import StoredForm, read_weight

InputReader = Callable[[Body, relax.Var, Hashable], relax.Var]


class ReduceLayerPrecision:
    """Rewrites bindings: each weight and each input is rounded once, where it is first read.

    Whatever else reads an image that a layer reads rounded (a residual add, a concatenation) reads
    it so, too: a board need not keep the float32 image, which has more bytes. So does one that
    crosses from another piece of the network, which may then hand over what was rounded.

    `chosen` are the layers by their calls; `roundings` says how each one's input is rounded, and
    an input that two layers want rounded alike is rounded once. `forms` are those in which their
    weights are stored; `activation(body, old, rounding)` emits what is read in place of `old`.
    """

    def __init__(
        self,
        model: Model,
        chosen: Mapping[relax.Var, Layer],
        roundings: Mapping[relax.Var, Hashable],
        forms: Mapping[str, StoredForm],
        activation: InputReader,
    ):
        self._names, self._graph = model.weight_names(), Graph.of(model)
        self._crossing = _images_crossing(model)
        self._chosen, self._roundings = chosen, roundings
        self._forms, self._activation = forms, activation
        self._images = self._rounded_images()
        self._waiting = {layer.weight: layer for layer in chosen.values()}
        self._inputs: dict[tuple[relax.Var, Hashable], relax.Var] = {}

    def __call__(self, body: Body, var: relax.Var, value: relax.Expr) -> relax.Expr:
        """Return a binding's value over rounded weights and, in a chosen layer, inputs."""
        for read in variables(value):
            layer = self._waiting.pop(self._names.get(read, ""), None)
            if layer is not None:
                body.bind(read, read_weight(body, layer, self._forms[layer.weight]))
        if var not in self._chosen:
            return self._other(body, value)
        x = self._input(body, self._chosen[var].input, self._roundings[var])
        return relax.Call(value.op, [x, body.of(value.args[1])], value.attrs)

    def _rounded_images(self) -> dict[relax.Var, Hashable]:
        """The images that are read rounded; before max pooling too, which picks among them."""
        inner = (self._graph.producers.keys() | self._crossing) - set(self._graph.outputs())
        images = {
            layer.input: self._roundings[call]
            for call, layer in self._chosen.items()
            if layer.kind != "dense" and layer.input in inner
        }
        for image, rounding in tuple(images.items()):
            made = self._graph.producers.get(image)
            pooled = any(is_call(made, f"relax.nn.max_pool{rank}d") for rank in (1, 2, 3))
            before = self._graph.origin(made.args[0]) if made is not None and pooled else None
            if before in inner and len(self._graph.consumers[before]) == 1:
                images.setdefault(before, rounding)
        return images

    def _other(self, body: Body, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.Var):
            return body.of(value)
        images = {read: self._graph.origin(read) for read in variables(value)}
        instead = {
            read: self._input(body, image, self._images[image])
            for read, image in images.items()
            if image in self._images
        }
        return body.of(value, instead)

    def _input(self, body: Body, old: relax.Var, rounding: Hashable) -> relax.Var:
        if (old, rounding) not in self._inputs:
            self._inputs[old, rounding] = self._activation(body, old, rounding)
        return self._inputs[old, rounding]


def _images_crossing(model: Model) -> set[relax.Var]:
    """The inputs that are images of a piece before this one."""
    inputs = zip(model.function.params, model.inputs, strict=False)
    return {var for var, spec in inputs if spec.channels_last}
