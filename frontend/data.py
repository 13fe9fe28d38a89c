"""Data sets: samples for a network's inputs, their labels, and splits that never overlap."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files.arrays import read_npz
from ..files.read import check_regular
from ..ir.model import Model, TensorSpec, batch_of, sample_shape
from .factory import call_factory, is_factory

_FORMS = "an .npz file, a folder of class folders, or package.module:function"
# Of each five samples of a class: one to calibrate, two to validate, two to test.
_DEAL = np.array([0, 1, 2, 1, 2])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One array for each network input, samples along the leading axis, and their labels.

    `names` are the inputs' names where the source gives them; without, arrays are in the
    network's order.
    """

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = {len(array) for array in self.inputs if array.ndim}
        if len(counts) != 1 or any(array.ndim == 0 for array in self.inputs):
            shapes = ", ".join(str(array.shape) for array in self.inputs) or "none"
            raise DataError(f"input arrays need one common number of samples, found {shapes}")
        if self.labels is not None:
            object.__setattr__(self, "labels", _check_labels(self.labels, len(self)))

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, indices: np.ndarray) -> Dataset:
        """Keep the samples at `indices`, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, inputs=tuple(a[indices] for a in self.inputs), labels=labels)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three data sets without a common sample."""

    calibration: Dataset
    validation: Dataset
    test: Dataset


def load_data(source: str | Path | Dataset) -> Dataset:
    """Read an ``.npz`` file, a folder of class folders, or what ``package.module:function`` gives.

    An ``.npz`` holds ``x``, or one array under each input's name, and ``y`` if there are labels.
    The function takes nothing and returns a `Dataset`, ``x``, or ``(x, y)``. A `Dataset` is given
    back.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and is_factory(source) and not os.path.exists(source):
        return _from_factory(source)
    path = Path(source)
    if os.path.isdir(path):
        from .image_folder import from_folder

        samples, labels = from_folder(path)
        return Dataset(inputs=(samples,), labels=labels)
    check_regular(path, DataError, f"give {_FORMS}")
    if path.suffix != ".npz":
        raise DataError(f"{path} is not a data set; give {_FORMS}")
    return _from_npz(path)


def split(dataset: Dataset, seed: int) -> Splits:
    """Deal the samples out: a fifth to calibrate, two fifths to validate, two fifths to test.

    Each class is dealt in the same proportions, to within a sample; the same seed gives the same
    splits.
    """
    count = len(dataset)
    if count < len(_DEAL):
        raise DataError(
            f"{count} samples are too few to split in three; give at least {len(_DEAL)}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    if dataset.labels is not None:
        order = order[np.argsort(dataset.labels[order], kind="stable")]
    dealt = np.empty(count, dtype=np.int64)
    dealt[order] = _DEAL[np.arange(count) % len(_DEAL)]
    shuffled = rng.permutation(count)
    parts = [dataset.take(shuffled[dealt[shuffled] == part]) for part in range(3)]
    return Splits(calibration=parts[0], validation=parts[1], test=parts[2])


def check(dataset: Dataset, model: Model, *, needs_labels: bool = False) -> Dataset:
    """Give the data in the network's order and types, or say why they do not fit it."""
    arrays, batch = _in_order(dataset, model.inputs), batch_of(model.inputs)
    inputs = tuple(
        _fit_samples(array, spec, sample_shape(spec, batch))
        for array, spec in zip(arrays, model.inputs, strict=True)
    )
    if needs_labels and dataset.labels is None:
        raise DataError("the data have no labels, so accuracy cannot be measured; add y")
    if dataset.labels is not None:
        _check_range(dataset.labels, (1, *model.outputs[0].shape)[-1])
    names = tuple(spec.name for spec in model.inputs)
    return Dataset(inputs=inputs, labels=dataset.labels, names=names)


def _in_order(dataset: Dataset, specs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    wanted = [spec.name for spec in specs]
    if len(dataset.inputs) != len(specs):
        raise DataError(
            f"the network has the inputs {', '.join(wanted)}; the data have {len(dataset.inputs)}; "
            "give one array for each, under its name"
        )
    if not dataset.names:
        return dataset.inputs
    if set(dataset.names) != set(wanted):
        raise DataError(
            f"the network has the inputs {', '.join(wanted)}; the data are named "
            f"{', '.join(dataset.names)}; name them as the inputs"
        )
    by_name = dict(zip(dataset.names, dataset.inputs, strict=True))
    return tuple(by_name[name] for name in wanted)


def _fit_samples(array: np.ndarray, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] != shape:
        if (*array.shape[-1:], *array.shape[1:-1]) == shape:
            raise DataError(
                f"samples for {spec.name} have the shape {array.shape[1:]}, channels last; the "
                f"network takes {shape}; give np.moveaxis(x, -1, 1)"
            )
        raise DataError(
            f"samples for {spec.name} have the shape {array.shape[1:]}; the network takes "
            f"{shape}; resize them as the network was trained"
        )
    if np.dtype(spec.dtype).kind != array.dtype.kind:
        raise DataError(
            f"samples for {spec.name} are {array.dtype}; the network takes {spec.dtype}; convert "
            "them as the network was trained, for example x.astype('float32') / 255"
        )
    with np.errstate(over="ignore"):
        samples = array.astype(spec.dtype, copy=False)
    if samples.dtype.kind in "iu" and not np.array_equal(samples, array):
        raise DataError(
            f"samples for {spec.name} are {array.dtype} from {array.min()} to {array.max()}; the "
            f"network takes {spec.dtype}, which does not hold them"
        )
    if samples.dtype.kind == "f":
        finite = np.isfinite(samples.reshape(len(samples), -1)).all(axis=1)
        if not finite.all():
            first = int(np.argmin(finite))
            raise DataError(
                f"sample {first} for {spec.name} is not finite (NaN, infinite or out of "
                f"{spec.dtype}'s range); remove or fix it"
            )
    return samples


def _check_range(labels: np.ndarray, class_count: int) -> None:
    wrong = (labels < 0) | (labels >= class_count)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"label {labels[first]} of sample {first} is out of range: the network has "
            f"{class_count} classes, 0 to {class_count - 1}"
        )


def _check_labels(labels: np.ndarray, count: int) -> np.ndarray:
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(
            f"labels have the shape {labels.shape}; give one class number for each of the "
            f"{count} samples"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels are {labels.dtype}; give class numbers, integers from 0")
    return labels.astype(np.int64)


def _from_npz(path: Path) -> Dataset:
    arrays = read_npz(path, DataError, f"give {_FORMS}")
    labels = arrays.pop("y", None)
    if not arrays:
        raise DataError(f"{path} has no samples; save them as x, or under each input's name")
    names = () if list(arrays) == ["x"] else tuple(arrays)
    return _dataset(str(path), tuple(arrays.values()), labels, names)


def _from_factory(source: str) -> Dataset:
    made = call_factory(source, DataError)
    if isinstance(made, Dataset):
        return made
    pair = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not all(isinstance(a, np.ndarray) for a in pair if a is not None):
        raise DataError(f"{source} must return a Dataset, x, or (x, y), as NumPy arrays")
    return _dataset(source, (pair[0],), pair[1], ())


def _dataset(
    source: str, inputs: tuple[Any, ...], labels: np.ndarray | None, names: tuple[str, ...]
) -> Dataset:
    try:
        return Dataset(inputs=inputs, labels=labels, names=names)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
