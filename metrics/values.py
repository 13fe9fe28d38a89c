"""Metrics of outputs that are numbers: images, embeddings, coordinates. One value a sample.

Targets have the form of the outputs, but for axes of one; with one array of targets, the first
output counts, with one for each output, their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontend.targets import Targets, describe_targets
from ..ir.model import Model, sample_shape
from .metric import Metric

MOST_DB = 100.0
"""The most that a sample's PSNR counts: one that is exactly right is infinitely good."""


def check_pairs(model: Model, targets: Targets) -> None:
    """Refuse targets that no output has the form of."""
    outputs = {spec.name: sample_shape(spec, model.batch) for spec in model.outputs}
    if isinstance(targets, Mapping) and list(targets) != list(outputs):
        raise DataError(
            f"the targets are named {', '.join(targets)}, the outputs {', '.join(outputs)}; name "
            "them alike, or give one array y for the first output"
        )
    arrays = list(targets.values()) if isinstance(targets, Mapping) else [targets]
    for array, (name, shape) in zip(arrays, outputs.items(), strict=False):
        if array.dtype.kind not in "biuf" or _solid(array.shape[1:]) != _solid(shape):
            raise DataError(
                f"the targets of output {name} are {describe_targets(array)}; it is compared with "
                f"numbers of the shape (n, {', '.join(map(str, shape))}); give those, or another "
                "--metric"
            )
        if not np.isfinite(array).all():
            raise DataError(f"the targets of output {name} hold NaN or infinity; fix them")


def squared_error(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean squared difference."""
    return np.asarray(np.square(given - wanted).mean(axis=1))


def psnr(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB; the peak is the range of all the targets."""
    peak = np.ptp(wanted)
    if peak == 0:
        raise DataError("psnr needs targets that differ: theirs are all the same; use mse")
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(peak**2 / squared_error(given, wanted)), MOST_DB)


def cosine(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Cosine of the angle between output and target; of a zero one 0, of two 1."""
    ours, theirs = np.linalg.norm(given, axis=1), np.linalg.norm(wanted, axis=1)
    product, power = np.einsum("ni,ni->n", given, wanted), ours * theirs
    found = np.divide(product, power, out=np.zeros_like(product), where=power > 0)
    return np.where((ours == 0) & (theirs == 0), 1.0, found)


def relative_error(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Length of the difference over that of the target, which counts as 1 where it is 0."""
    lengths = np.linalg.norm(wanted, axis=1)
    return np.asarray(np.linalg.norm(given - wanted, axis=1) / np.where(lengths > 0, lengths, 1.0))


def _each_pair(function: Any, outputs: Any, targets: Any) -> np.ndarray:
    pairs = list(zip(_all(outputs), _all(targets), strict=False))
    found = [function(_flat(given), _flat(wanted)) for given, wanted in pairs]
    return np.asarray(np.mean(found, axis=0))


def _all(values: Any) -> tuple[np.ndarray, ...]:
    if isinstance(values, Mapping):
        return tuple(values.values())
    return values if isinstance(values, tuple) else (values,)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float64)


def _solid(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


MSE = Metric(
    name="mse",
    direction="lower",
    function=partial(_each_pair, squared_error),
    compares_outputs=True,
    check=check_pairs,
)
PSNR = Metric(
    name="psnr",
    direction="higher",
    function=partial(_each_pair, psnr),
    unit="dB",
    usual_drop=0.5,
    compares_outputs=True,
    check=check_pairs,
)
COSINE = Metric(
    name="cosine",
    direction="higher",
    function=partial(_each_pair, cosine),
    usual_drop=0.02,
    compares_outputs=True,
    check=check_pairs,
)
RELATIVE_ERROR = Metric(
    name="relative-error",
    direction="lower",
    function=partial(_each_pair, relative_error),
    usual_drop=0.05,
    compares_outputs=True,
    check=check_pairs,
)
