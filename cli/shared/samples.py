"""Samples for a library's network: from an .npz file or random, cut into calls, joined again.

Nothing of the compiler is loaded here: these are the arrays of an app.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError, InputError
from ...files.arrays import read_npz
from ...library.manifest import TensorSpec
from .files import write_whole

if TYPE_CHECKING:
    from ...library.loader import Library


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One array for each input, all with `count` samples along the leading axis.

    `whole`: the arrays are one call's inputs as they stand. `labels` is one class number a sample.
    """

    inputs: tuple[np.ndarray, ...]
    count: int
    whole: bool
    labels: np.ndarray | None = None


def random_samples(specs: Sequence[TensorSpec], count: int | None, seed: int = 0) -> Samples:
    """Draw normal floats and integers 0 or 1 for `count` samples; None: for one call."""
    rng = np.random.default_rng(seed)
    shapes = [spec.shape if count is None else (count, *spec.shape[1:]) for spec in specs]
    inputs = tuple(_random(rng, s, spec) for s, spec in zip(shapes, specs, strict=True))
    held = len(inputs[0]) if inputs[0].ndim else 1
    return Samples(inputs=inputs, count=held, whole=count is None)


def read_samples(
    path: Path, specs: Sequence[TensorSpec], limit: int | None, *, has_classes: bool = True
) -> Samples:
    """Read arrays under each input's name, or `x` for a single input, and class labels `y` if any.

    Targets by name (`y.NAME`) are left out, and without `has_classes` so is `y`.
    """
    arrays = read_npz(path, DataError, "give an .npz with the inputs under their names")
    arrays = {name: array for name, array in arrays.items() if not name.startswith("y.")}
    labels = arrays.pop("y", None)
    labels = labels if has_classes else None
    inputs = tuple(_in_order(path, arrays, specs))
    if all(a.shape == spec.shape for a, spec in zip(inputs, specs, strict=True)):
        count, whole = len(inputs[0]) if inputs[0].ndim else 1, True
    else:
        count, whole = _count(path, inputs, specs), False
    if labels is not None:
        labels = _checked_labels(path, labels, count)
    if limit is not None and not whole and limit < count:
        inputs, count = tuple(a[:limit] for a in inputs), limit
        labels = None if labels is None else labels[:limit]
    return Samples(inputs=inputs, count=count, whole=whole, labels=labels)


def samples_of(library: Library, path: Path | None, limit: int | None) -> tuple[int, Samples]:
    """Random samples of the first shape; those of a file, and the first shape that they have.

    Returns:
        The shape's number, and the samples.

    """
    first, *further = library.manifest.signatures
    if path is None:
        return 0, random_samples(first.inputs, limit)
    has_classes = _has_classes(library)
    try:
        return 0, read_samples(path, first.inputs, limit, has_classes=has_classes)
    except InputError as error:
        for index, shape in enumerate(further, 1):
            with suppress(InputError):
                found = read_samples(path, shape.inputs, limit, has_classes=has_classes)
                return index, found
        if not further:
            raise
        from .library_tables import inputs_text

        known = "; ".join(map(inputs_text, further))
        raise InputError(f"{error}; further shapes of the library: {known}") from error


def calls(samples: Samples, specs: Sequence[TensorSpec]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the inputs of one call after another; the last is filled up with its last sample."""
    if samples.whole:
        yield samples.inputs
        return
    batch = specs[0].shape[0]
    for start in range(0, samples.count, batch):
        rows = np.minimum(np.arange(start, start + batch), samples.count - 1)
        yield tuple(array[rows] for array in samples.inputs)


def join_calls(
    outputs: Sequence[Sequence[np.ndarray]], samples: Samples, specs: Sequence[TensorSpec]
) -> tuple[np.ndarray, ...]:
    """Join each output of all calls: along the leading axis if that is the batch, else stacked."""
    if samples.whole:
        return tuple(outputs[0])
    return tuple(
        np.concatenate(column)[: samples.count]
        if column[0].shape[:1] == specs[0].shape[:1]
        else np.stack(column)
        for column in zip(*outputs, strict=True)
    )


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz whole or not at all."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_whole(path, packed.getbuffer())


def _has_classes(library: Library) -> bool:
    """Whether `y` may be class numbers: another metric than top-1 accuracy takes what it likes."""
    metric = library.manifest.variant(library.manifest.plainest).cost.metric
    return metric is None or metric.name in ("top1", "top5") or metric.against == "dense"


def _random(rng: np.random.Generator, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    if np.dtype(spec.dtype).kind == "f":
        return rng.standard_normal(shape).astype(spec.dtype)
    return rng.integers(0, 2, shape).astype(spec.dtype)


def _in_order(
    path: Path, arrays: Mapping[str, np.ndarray], specs: Sequence[TensorSpec]
) -> Iterator[np.ndarray]:
    names = [spec.name for spec in specs]
    if len(specs) == 1 and set(arrays) == {"x"}:
        arrays = {names[0]: arrays["x"]}
    if set(arrays) != set(names):
        held = ", ".join(arrays) or "nothing"
        raise InputError(
            f"{path} holds {held}; the network takes {', '.join(names)}; name the arrays so"
        )
    for spec in specs:
        array = arrays[spec.name]
        if array.dtype != spec.dtype:
            raise InputError(
                f"{path}: {spec.name} is {array.dtype}, the network takes {spec.dtype}; convert "
                "it as the network was trained"
            )
        yield array


def _count(path: Path, inputs: Sequence[np.ndarray], specs: Sequence[TensorSpec]) -> int:
    for array, spec in zip(inputs, specs, strict=True):
        if array.ndim == 0 or array.shape[1:] != spec.shape[1:] or len(array) == 0:
            raise InputError(
                f"{path}: {spec.name} has the shape {array.shape}; the network takes samples of "
                f"{spec.shape[1:]} along a leading axis"
            )
    counts = {len(array) for array in inputs}
    if len(counts) > 1 or len({spec.shape[0] for spec in specs}) > 1:
        shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in specs)
        raise InputError(
            f"{path}: the inputs have {sorted(counts)} samples; give as many for each, or arrays "
            f"for one call: {shapes}"
        )
    return counts.pop()


def _checked_labels(path: Path, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: y is {labels.dtype} {labels.shape}; give one class number, an integer from "
            f"0, for each of the {count} samples"
        )
    return labels
