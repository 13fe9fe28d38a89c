"""Find the layers that are parts of a layer which was split before."""

from __future__ import annotations

from ..frontend.model import Model
from .graph import layers


def parts_found(model: Model) -> frozenset[str]:
    """Name every layer `a.i` that, with nothing between, reads another `a.j`, or is read so.

    Two linear layers in a row are one factorized layer already, whoever wrote them.
    """
    by_call = {layer.call: layer.name for layer in layers(model) if layer.bias is None}
    found: set[str] = set()
    for layer in layers(model):
        before = by_call.get(layer.input)
        if before is not None and _whole(before) == _whole(layer.name) is not None:
            found |= {before, layer.name}
    return frozenset(found)


def _whole(name: str) -> str | None:
    whole, _, number = name.rpartition(".")
    return whole if number.isdigit() else None
