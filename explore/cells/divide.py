"""Where a network is cut: into pieces of about equal work, few enough."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.layers import layers
from ...ir.model import Model
from ...ir.pieces.segments import Crossing, crossings, cut


def divide(model: Model, most: int) -> tuple[Model, ...]:
    """Cut a network into at most so many pieces, networks all; itself where it has no place.

    The places are those nearest to equal shares of the multiply-adds.
    """
    return cut(model, choose(model, crossings(model), most))


def choose(model: Model, places: Sequence[Crossing], most: int) -> tuple[Crossing, ...]:
    """Choose at most `most` - 1 of the places, in order."""
    done = [0]
    for layer in layers(model):
        done.append(done[-1] + layer.macs_count)
    wanted = [done[-1] * index / most for index in range(1, most)]
    nearest = {
        min(places, key=lambda place: abs(done[place.layers_count] - share)).layers_count
        for share in (wanted if places else ())
    }
    return tuple(place for place in places if place.layers_count in nearest)
