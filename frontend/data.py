"""Data sets: samples for a network's inputs, what is right for each, and splits of both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files.arrays import read_npz
from ..files.read import check_regular
from ..ir.model import Model, TensorSpec, batch_of, sample_shape
from .factory import call_factory, is_factory
from .targets import Targets, check_targets, class_numbers, take_targets

_FORMS = "an .npz file, a folder of class folders, or package.module:function"
# Of each five samples of a class: one to calibrate, two to validate, two to test.
_DEAL = np.array([0, 1, 2, 1, 2])
_DEAL_OF_TWO = np.array([1, 2])
_PARTS = ("calibration", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One array for each network input, samples along the leading axis, and what is right.

    `targets`: an array (n, …), arrays by name, or a list of n objects, which becomes an array of
    objects. `names` are the inputs' names where the source gives them; without, arrays are in the
    network's order.
    """

    inputs: tuple[np.ndarray, ...]
    targets: Targets | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = {len(array) for array in self.inputs if array.ndim}
        if len(counts) != 1 or any(array.ndim == 0 for array in self.inputs):
            shapes = ", ".join(str(array.shape) for array in self.inputs) or "none"
            raise DataError(f"input arrays need one common number of samples, found {shapes}")
        if self.targets is not None:
            object.__setattr__(self, "targets", check_targets(self.targets, len(self)))

    @property
    def labels(self) -> np.ndarray | None:
        """The targets where they are class numbers, one for each sample, else None."""
        return class_numbers(self.targets)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, indices: np.ndarray) -> Dataset:
        """Keep the samples at `indices`, in that order."""
        targets = take_targets(self.targets, indices)
        return replace(self, inputs=tuple(a[indices] for a in self.inputs), targets=targets)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three data sets without a common sample."""

    calibration: Dataset
    validation: Dataset
    test: Dataset


def load_data(source: str | Path | Dataset) -> Dataset:
    """Read an ``.npz`` file, a folder of class folders, or what ``package.module:function`` gives.

    An ``.npz`` holds ``x``, or one array under each input's name, and what is right: ``y``, or
    ``y.NAME`` for each of several. The function takes nothing and returns a `Dataset`, ``x``, or
    ``(x, y)``, ``y`` an array, a dict of arrays, or a list of objects. A `Dataset` is given back.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and is_factory(source) and not os.path.exists(source):
        return _from_factory(source)
    path = Path(source)
    if os.path.isdir(path):
        from .image_folder import from_folder

        samples, labels = from_folder(path)
        return Dataset(inputs=(samples,), targets=labels)
    check_regular(path, DataError, f"give {_FORMS}")
    if path.suffix != ".npz":
        raise DataError(f"{path} is not a data set; give {_FORMS}")
    return _from_npz(path)


def split(dataset: Dataset, seed: int) -> Splits:
    """Deal the samples out: a fifth to calibrate, two fifths to validate, two fifths to test.

    Each class is dealt in the same proportions, to within a sample; the same seed gives the same
    splits.
    """
    return Splits(**dict(zip(_PARTS, _deal(dataset, seed, _DEAL), strict=True)))


def split_apart(dataset: Dataset, calibration: Dataset, seed: int) -> Splits:
    """Deal the samples out in halves, to validate and to test; others calibrate."""
    _, validation, test = _deal(dataset, seed, _DEAL_OF_TWO)
    return Splits(calibration=calibration, validation=validation, test=test)


def count_shared(dataset: Dataset, other: Dataset) -> int:
    """Count the samples whose inputs are those of a sample in another data set."""
    known = set(_digests(other))
    return sum(digest in known for digest in _digests(dataset))


def _digests(dataset: Dataset) -> Iterator[bytes]:
    for sample in zip(*dataset.inputs, strict=True):
        digest = hashlib.blake2b(digest_size=16)
        for value in sample:
            digest.update(np.ascontiguousarray(value).data)
        yield digest.digest()


def _deal(dataset: Dataset, seed: int, hands: np.ndarray) -> list[Dataset]:
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
    dealt[order] = hands[np.arange(count) % len(hands)]
    shuffled = rng.permutation(count)
    return [dataset.take(shuffled[dealt[shuffled] == part]) for part in range(len(_PARTS))]


def check(dataset: Dataset, model: Model) -> Dataset:
    """Give the data in the network's order and types, or say why they do not fit it.

    Targets that are named as the outputs are come in the outputs' order.
    """
    arrays, batch = _in_order(dataset, model.inputs), batch_of(model.inputs)
    inputs = tuple(
        _fit_samples(array, spec, sample_shape(spec, batch))
        for array, spec in zip(arrays, model.inputs, strict=True)
    )
    targets, outputs = dataset.targets, [spec.name for spec in model.outputs]
    if isinstance(targets, Mapping) and set(targets) == set(outputs):
        targets = {name: targets[name] for name in outputs}
    names = tuple(spec.name for spec in model.inputs)
    return Dataset(inputs=inputs, targets=targets, names=names)


def _in_order(dataset: Dataset, specs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    wanted = [spec.name for spec in specs]
    if len(dataset.inputs) != len(specs):
        raise DataError(
            f"the network has the inputs {', '.join(wanted)}; the data have {len(dataset.inputs)}; "
            f"give one array for each, under its name{_targets_hint(dataset)}"
        )
    if not dataset.names:
        return dataset.inputs
    if set(dataset.names) != set(wanted):
        raise DataError(
            f"the network has the inputs {', '.join(wanted)}; the data are named "
            f"{', '.join(dataset.names)}; name them as the inputs{_targets_hint(dataset)}"
        )
    by_name = dict(zip(dataset.names, dataset.inputs, strict=True))
    return tuple(by_name[name] for name in wanted)


def _targets_hint(dataset: Dataset) -> str:
    """What to do about arrays that look as if they were meant as targets."""
    meant = [name for name in dataset.names if name.startswith("y_")]
    return f" ({meant[0]}, if it is a target, as y.{meant[0][2:]})" if meant else ""


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


def _from_npz(path: Path) -> Dataset:
    arrays = read_npz(path, DataError, f"give {_FORMS}")
    named = {name[2:]: arrays.pop(name) for name in list(arrays) if name.startswith("y.")}
    targets: Any = arrays.pop("y", None)
    if named and targets is not None:
        raise DataError(f"{path} holds y and y.{min(named)}; name all targets y.NAME, or one y")
    if not arrays:
        raise DataError(f"{path} has no samples; save them as x, or under each input's name")
    names = () if list(arrays) == ["x"] else tuple(arrays)
    return _dataset(str(path), tuple(arrays.values()), named or targets, names)


def _from_factory(source: str) -> Dataset:
    made = call_factory(source, DataError)
    if isinstance(made, Dataset):
        return made
    samples, targets = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(samples, np.ndarray):
        raise DataError(f"{source} must return a Dataset, x, or (x, y), x as a NumPy array")
    return _dataset(source, (samples,), targets, ())


def _dataset(source: str, inputs: tuple[Any, ...], targets: Any, names: tuple[str, ...]) -> Dataset:
    try:
        return Dataset(inputs=inputs, targets=targets, names=names)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
