"""Networks cut into pieces, each quantized by what crosses densely."""

from __future__ import annotations

from functools import cache

from adaspring.frontend.data import Dataset
from adaspring.ir.model import Model
from adaspring.ir.pieces.segments import crossings, cut
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from .passes import data, known


@cache
def int8_pieces(network: type, count: int = 24) -> tuple[Model, ...]:
    """A network of `networks.py` cut wherever it can be, every piece in 8 bits."""
    model = known(network)
    found, given = [], data(model, count)
    for piece in cut(model, crossings(model)):
        settings = Quantize()
        found.append(settings.apply(piece, settings.plan(piece, given)))
        given = Dataset(inputs=evaluate(piece, given))
    return tuple(found)
