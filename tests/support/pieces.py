"""A library of a small network in pieces, built for this machine, with made-up figures."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from adaspring.backends.build import build, prepare
from adaspring.explore.assemble import library_parts
from adaspring.frontend.data import Dataset
from adaspring.ir.model import Model
from adaspring.ir.pieces import levels as ir_levels
from adaspring.ir.pieces.segments import crossings, cut
from adaspring.library.manifest import Cost
from adaspring.library.parts import (
    CellParts,
    CompositionParts,
    FormParts,
    LibraryParts,
    VariantParts,
)
from adaspring.library.pieces.composition import (
    Combination,
    LatencyPrediction,
    Levels,
    MetricPrediction,
)
from adaspring.passes.prune.prune import Prune
from adaspring.passes.quantize.static import Quantize
from adaspring.reference.executor import evaluate

from .boards import HOST
from .libraries import cost, figure, top1
from .networks import SmallResNet
from .passes import data, known

NAMES = ("dense", "half", "int8")
METRIC = ((0.0, -0.01, -0.005), (0.0, -0.02, -0.01))
LATENCY_MS = ((2.0, 1.2, 0.8), (3.0, 1.5, 1.0))


@cache
def pieces() -> tuple[tuple[Model, ...], ...]:
    """Two pieces of a residual network, each dense, pruned to half, and in 8 bits."""
    model = known(SmallResNet)
    places = crossings(model)
    found, given = [], data(model, 32)
    for piece in cut(model, places[len(places) // 2 :][:1]):
        cells = [piece]
        for settings in (Prune(keep_ratio=0.5), Quantize()):
            cells.append(settings.apply(piece, settings.plan(piece, given)))
        found.append(tuple(cells))
        given = Dataset(inputs=evaluate(piece, given))
    return tuple(found)


def right(cells: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """What a combination computes, in the reference."""
    values: tuple[np.ndarray, ...] = (x,)
    for made, cell in zip(pieces(), cells, strict=True):
        values = evaluate(made[cell], Dataset(inputs=values))
    return values[0]


@cache
def parts_in_pieces() -> LibraryParts:
    """The whole network, its pieces, and what their combinations cost."""
    folder, model = Path(mkdtemp()), known(SmallResNet)
    built = build(prepare(model, HOST), None, folder / "dense.so")
    whole = VariantParts(
        name="dense",
        recipe="dense",
        decisions=(),
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=cost(metric=0.9, latency_p90_ms=5.0, peak_memory_bytes=9e6, energy_mj=50.0),
    )
    segments = tuple(
        ((f"piece{index}",), tuple(_cell(folder, index, cell) for cell in range(len(NAMES))))
        for index in range(2)
    )
    return replace(
        library_parts(model, HOST, (whole,), ()),
        composition=CompositionParts(
            segments=segments,
            metric=MetricPrediction(
                base=0.88, cells=METRIC, bound=0.004, coverage=0.95, held_out_count=60, least=0.85
            ),
            latency=LatencyPrediction(
                scale=1.1,
                offset_ms=-0.3,
                cold_offset_ms=0.5,
                bound_ratio=0.05,
                coverage=0.95,
                held_out_count=60,
            ),
            combinations=(
                _measured("dense", "dense", 0.88, 5.1),
                _measured("int8", "int8", 0.863, 1.7),
                _measured("half", "half", 0.80, 2.6),
            ),
            uncut_ratio=1.01,
        ),
    )


def _cell(folder: Path, index: int, cell: int) -> CellParts:
    model = pieces()[index][cell]
    built = build(prepare(model, HOST), None, folder / f"{index}.{cell}.so")
    return CellParts(
        name=NAMES[cell],
        recipe=NAMES[cell],
        decisions=(),
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=_cost(index, cell),
        forms=() if NAMES[cell] != "int8" else (_form(folder, index, cell),),
    )


def _form(folder: Path, index: int, cell: int) -> FormParts:
    """The first int8 cell gives levels, the second takes them."""
    crossing = ir_levels.levels_taken(pieces()[1][cell])
    assert crossing is not None
    model = pieces()[index][cell]
    takes, gives = (crossing, None) if index else (None, crossing)
    forms = ir_levels.forms(model, [] if gives is None else [gives], "uint8")
    (made,) = [form.model for form in forms if (form.takes, form.gives) == (takes, gives)]
    built = build(prepare(made, HOST), None, folder / f"{index}.{cell}.levels.so")
    record = Levels(scale=crossing.scale, zero_point=crossing.zero_point, dtype="uint8")
    return FormParts(
        code_path=built.code,
        functions=built.functions,
        weights=built.weights,
        cost=_cost(index, cell),
        takes=record if index else None,
        gives=None if index else record,
    )


def _cost(index: int, cell: int) -> Cost:
    return cost(
        latency_p90_ms=LATENCY_MS[index][cell],
        energy_mj=10.0 * LATENCY_MS[index][cell],
        peak_memory_bytes=1500.0,
    )


def _measured(first: str, second: str, metric: float, latency_ms: float) -> Combination:
    return Combination(
        cells=(first, second), validation_metric=top1(metric), latency_p90_ms=figure(latency_ms)
    )


def every() -> list[tuple[int, ...]]:
    """All combinations, by the cells' numbers."""
    return list(product(range(len(NAMES)), repeat=2))
