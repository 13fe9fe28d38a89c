"""Padding to the next larger shape: allowed where it leaves the network's answers as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import ModelError, UsageError
from ...frontend.shapes import specs_text
from ...ir.index_ranges import index_ranges
from ...ir.model import Model
from ...ir.quantized_layers import is_quantized
from ...library.shapes.faults import padding_faults
from ...library.shapes.padding import Padding
from ...reference.executor import Reference, difference_ratio
from ...reference.import_check import QUANTIZED_TOLERANCE, TOLERANCE
from ..assemble import signature_of
from ..variants import random_inputs

_ALL_ZERO = 1e-2


def masked_inputs(model: Model, pad: Mapping[str, float]) -> tuple[np.ndarray, ...]:
    """Random samples (N, …), with what padding makes a mask drawn as one.

    An integer input that is no index is a mask: it holds the value that pads it, or the other of 0
    and 1, and at least one of a row is not padding.
    """
    ranges, rng, inputs = index_ranges(model), np.random.default_rng(0), []
    for spec, value in zip(model.inputs, random_inputs(model), strict=True):
        if spec.name in pad and value.dtype.kind in "iub" and spec.name not in ranges:
            there = 0 if pad[spec.name] else 1
            drawn = np.where(rng.random(value.shape) < 0.5, pad[spec.name], there)
            drawn[..., 0] = there
            value = drawn.astype(value.dtype)
        inputs.append(value)
    return tuple(inputs)


def check_padding(models: Sequence[Model], pad: Mapping[str, float]) -> None:
    """Compare every shape's outputs with those of its inputs padded to the next larger shape.

    Raises:
        UsageError: inputs that cannot be padded, or no shape that another one holds.
        ModelError: padding changes an output, as where the network has no mask.

    """
    if not pad:
        return
    signatures = tuple(map(signature_of, models))
    for fault in padding_faults(signatures, dict(pad)):
        raise UsageError(f"--pad: {fault}")
    padding, compared = Padding(signatures, pad), 0
    for index, model in enumerate(models):
        runs = model.cut_runs(masked_inputs(model, pad), np.arange(model.batch)[None])
        inputs = [value[0] for value in runs]
        padded = padding.fit(inputs, beyond=index)
        if padded is None:
            continue
        wanted = Reference(model).run(*inputs)
        found = padded.cut(Reference(models[padded.index]).run(*padded.inputs))
        _compare(models, (index, padded.index), wanted, found)
        compared += 1
    if not compared:
        raise UsageError("--pad: no shape is larger than another in all, so nothing can be padded")


def _compare(
    models: Sequence[Model],
    pair: tuple[int, int],
    wanted: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
) -> None:
    small, large = (models[index] for index in pair)
    tolerance = QUANTIZED_TOLERANCE if is_quantized(small) else TOLERANCE
    for spec, right, ours in zip(small.outputs, wanted, found, strict=True):
        apart = difference_ratio(ours, right, _ALL_ZERO)
        if not apart <= tolerance or not np.isfinite(right).all():
            raise ModelError(
                f"{small.name}: padding {specs_text(small.inputs)} up to "
                f"{specs_text(large.inputs)} changes output {spec.name} by {apart:.2g} of its "
                "largest value: the network has no mask that hides these values; leave --pad out"
            )
