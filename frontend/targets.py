"""What is right for each sample: an array, several under names, or any objects, one a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError

Targets = np.ndarray | Mapping[str, np.ndarray]
"""An array (n, …), or arrays (n, …) by name; n objects are an array (n,) of objects."""


def check_targets(given: Any, count: int) -> Targets:
    """Return arrays, arrays by name, or a list of objects as `Targets` for `count` samples.

    Raises:
        DataError: there is not one for each sample, or it is something else.

    """
    if isinstance(given, Mapping):
        if not given or not all(isinstance(name, str) for name in given):
            raise DataError("targets by name need names, which are text; give {'boxes': …}")
        return {name: _array(value, count, f"target {name}") for name, value in given.items()}
    return _array(given, count, "targets")


def take_targets(targets: Targets | None, rows: Any) -> Targets | None:
    """Keep those of some samples."""
    if targets is None or isinstance(targets, np.ndarray):
        return targets if targets is None else targets[rows]
    return {name: value[rows] for name, value in targets.items()}


def join_targets(parts: Sequence[Targets | None]) -> Targets | None:
    """Put those of several parts of the same data one after another; None where one has none."""
    first, arrays = parts[0], [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    if any(not isinstance(part, Mapping) for part in parts) or not isinstance(first, Mapping):
        return None
    return {name: np.concatenate([part[name] for part in parts]) for name in first}  # type: ignore[index]


def class_numbers(targets: Targets | None) -> np.ndarray | None:
    """The targets where they are one integer for each sample, else None."""
    if isinstance(targets, np.ndarray) and targets.ndim == 1 and targets.dtype.kind in "iu":
        return targets
    return None


def describe_targets(targets: Targets) -> str:
    """Write types and shapes: float32 (60, 4)."""
    if isinstance(targets, np.ndarray):
        return f"{targets.dtype} {targets.shape}"
    return ", ".join(f"{name} {value.dtype} {value.shape}" for name, value in targets.items())


def _array(given: Any, count: int, what: str) -> np.ndarray:
    array = given if isinstance(given, np.ndarray) else _objects(given, what)
    if array.ndim == 0 or len(array) != count:
        raise DataError(
            f"{what} have the shape {array.shape}; give one for each of the {count} samples, along "
            "the leading axis"
        )
    return array.astype(np.int64) if class_numbers(array) is not None else array


def _objects(given: Any, what: str) -> np.ndarray:
    if not isinstance(given, list | tuple):
        raise DataError(
            f"{what} are a {type(given).__name__}; give a NumPy array, a dict of arrays, or a list "
            "with one object for each sample"
        )
    array = np.empty(len(given), dtype=object)
    array[:] = given
    return array
