"""An import is checked against its source: the same inputs, the same outputs.

The source is run by its own framework, what was imported by the reference executor. Builds are
held against the reference executor later, so what is right here is right on the board. Where the
two part, the first operator that is wrong is searched for, ever shorter beginnings of the network
being imported again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tvm import relax

from ..errors import AdaspringError, ModelError
from ..frontend.load import import_model
from ..frontend.source import Imported, Source, SourceFailure
from ..ir.graph import Graph
from ..ir.index_ranges import draw_integers, index_ranges
from ..ir.model import Model
from .executor import Reference, difference_ratio

Inputs = Sequence[np.ndarray]

TOLERANCE = 2e-4
"""Largest difference, as a share of the largest value: sums in another order differ by less."""

QUANTIZED_TOLERANCE = 5e-2
"""The same of a network that comes quantized: a sum's last bit may round a value the other way."""

NARROW_TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1}
"""The same of a network that computes in 16-bit floats, and is imported in float32."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]
_DRAWS: tuple[Draw, ...] = (
    lambda rng, shape: rng.normal(size=shape),
    lambda rng, shape: rng.uniform(size=shape),
    lambda rng, shape: rng.normal(size=shape, scale=10),
)
_SMALLER = (None, 8, 2, 1)
_NUDGE, _NARROW_NUDGE, _NUDGES = 1e-6, 1e-3, 4
_SENSITIVITY = 8.0
_ALL_ZERO = 1e-20


def load_checked(
    source: str | Path | Model,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    check: bool = True,
) -> Model:
    """Import a network as `frontend.load_model` does, and check it unless told otherwise."""
    imported = import_model(source, shapes)
    if check:
        check_import(imported)
    return imported.model


def check_import(imported: Imported) -> None:
    """Compare three seeded samples: normal, uniform from 0 to 1, and normal of ten times the width.

    Integers are drawn over what the network indexes with them. A `Model` that came as such has no
    source, and is trusted.

    Raises:
        ModelError: the outputs' shapes, types or values differ, or the source cannot be run.

    """
    source, model = imported.source, imported.model
    if source is None:
        return
    reference = Reference(model)
    for seed, draw in enumerate(_DRAWS):
        inputs, wanted = _sample(model, source, draw, seed)
        why = _difference(model, source, inputs, reference.run(*inputs), wanted)
        if why is not None:
            raise ModelError(
                f"{model.name} was not imported rightly: {why}; {_first_wrong(source, inputs)}"
            )


def _sample(model: Model, source: Source, draw: Draw, seed: int) -> tuple[Inputs, Inputs]:
    """Draw inputs that the source can run, and run it.

    What is computed of integers may index, too, and masks are 0 and 1: where the source fails, or
    an output has nothing finite, which could not be compared, integers are drawn smaller.
    """
    ranges, found = index_ranges(model), list[tuple[Inputs, Inputs]]()
    for most in _SMALLER:
        rng = np.random.default_rng(seed)
        inputs = [
            np.asarray(draw(rng, spec.shape)).astype(spec.dtype)
            if spec.dtype.startswith("float")
            else np.asarray(
                draw_integers(rng, spec.shape, spec.dtype, most or ranges.get(spec.name))
            )
            for spec in model.inputs
        ]
        try:
            wanted = source.run(inputs)
        except SourceFailure as error:
            failure = error
            continue
        found.append((inputs, wanted))
        if all(np.isfinite(value).any() for value in wanted if value.dtype.kind == "f"):
            return found[-1]
    if found:
        return found[0]
    raise ModelError(
        f"{model.name} cannot be checked, since its own framework fails on it ({failure}); "
        "--no-check-import imports it unchecked"
    ) from failure


def _difference(
    model: Model, source: Source, inputs: Inputs, found: Inputs, wanted: Inputs
) -> str | None:
    """Say how the outputs differ, or None where they agree as far as the network is stable."""
    if len(found) != len(wanted):
        return f"it has {len(found)} outputs for {len(wanted)}"
    for index, (ours, right) in enumerate(zip(found, wanted, strict=True)):
        if ours.shape != right.shape or ours.dtype != right.dtype:
            return (
                f"output {index} is {ours.dtype} {ours.shape}, "
                f"its source gives {right.dtype} {right.shape}"
            )
    apart = [_distance(a, b) for a, b in zip(found, wanted, strict=True)]
    tolerance = _tolerance(model, source)
    if all(distance <= tolerance for distance in apart):
        return None
    moved = _sensitivity(source, inputs, wanted)
    for index, (distance, own) in enumerate(zip(apart, moved, strict=True)):
        if distance > max(tolerance, _SENSITIVITY * own):
            return f"output {index} differs by {distance:.2g} of its largest value"
    return None


def _tolerance(model: Model, source: Source) -> float:
    quantized = any(_quantizes(value) for _, value in Graph.of(model).bindings)
    own = QUANTIZED_TOLERANCE if quantized else TOLERANCE
    return own if source.narrow is None else max(own, NARROW_TOLERANCES[source.narrow])


def _quantizes(value: relax.Expr) -> bool:
    return isinstance(value, relax.Call) and value.op.name == "relax.quantize"


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Measure the largest difference over the largest value; of integers the share that differs."""
    if wanted.dtype.kind == "f":
        return difference_ratio(found, wanted, _ALL_ZERO)
    return float(np.mean(found != wanted)) if wanted.size else 0.0


def _sensitivity(source: Source, inputs: Inputs, wanted: Inputs) -> list[float]:
    """How far the source's own outputs move when its inputs move by a millionth.

    Where it computes in 16 bits, inputs move by a thousandth, which is what these can tell.
    Rounding to integers, comparing and choosing the largest turn tiny differences into whole steps.
    """
    rng, moved = np.random.default_rng(1), [0.0] * len(wanted)
    nudge = _NUDGE if source.narrow is None else _NARROW_NUDGE
    for _ in range(_NUDGES):
        nudged = [
            (x * (1 + nudge * rng.uniform(-1, 1, x.shape))).astype(x.dtype)
            if x.dtype.kind == "f"
            else x
            for x in inputs
        ]
        try:
            outputs = source.run(nudged)
        except SourceFailure:
            continue
        apart = [
            _distance(a, b) if a.shape == b.shape else 0.0
            for a, b in zip(outputs, wanted, strict=True)
        ]
        moved = [max(pair) for pair in zip(moved, apart, strict=True)]
    return [own if np.isfinite(own) else 0.0 for own in moved]


def _first_wrong(source: Source, inputs: Inputs) -> str:
    """Search the operators by halves for the first that is wrong."""
    operators, low, high = source.operators, 0, len(source.operators) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_wrong(source.until(middle), inputs) else (middle + 1, high)
    if not operators or not _is_wrong(source.until(low), inputs):
        return "no single operator is wrong by itself; please report the network"
    return f"the first operator that is wrong is {operators[low]}"


def _is_wrong(source: Source, inputs: Inputs) -> bool:
    try:
        model = source.import_()
        wanted = source.run(inputs)
        found = Reference(model).run(*inputs)
    except (AdaspringError, SourceFailure):
        return False
    return _difference(model, source, inputs, found, wanted) is not None
