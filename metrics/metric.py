"""What a metric is, and how it is computed: on samples, or on a set, with an interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, first_line
from ..frontend.targets import Targets, take_targets
from ..ir.model import Model
from ..library.records import Against, Direction, Unit, sign_of
from ..library.score import Score
from .bootstrap import interval_of_mean, interval_of_set

Outputs = Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good outputs are, and which way is better.

    `function` takes outputs and targets, and gives a number for the whole set, or an array with one
    for each sample, which is averaged; of truth values that is a share. Outputs are an array
    (n, …), or a tuple of them where the network has several. Targets are the data's: an array
    (n, …), arrays by name, or n objects; of a metric `against` the dense network, its outputs.

    `direction`: which values are better. `unit`: "ratio" is a share in [0, 1], shown in percent.
    `usual_drop`: how much worse a variant may be where nobody says; None: it must be said.
    `compares_outputs`: targets have the form of outputs, so the dense network's serve where the
    data have none. `check` refuses targets that it cannot take, before any work.
    """

    name: str
    direction: Direction
    function: Callable[[Any, Any], Any]
    unit: Unit = ""
    against: Against = "labels"
    usual_drop: float | None = None
    compares_outputs: bool = False
    check: Callable[[Model, Targets], None] | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("higher", "lower"):
            raise UsageError(
                f"metric {self.name} has the direction {self.direction!r}; give 'higher' or "
                "'lower', whichever is better"
            )

    def __repr__(self) -> str:
        return f"<metric {self.name}>"

    def value(self, outputs: Outputs, targets: Targets | Outputs) -> float:
        """Compute it on all samples.

        Raises:
            DataError: the function fails, or gives no finite number.

        """
        _check_counts(self.name, outputs, targets)
        return self._mean(self._compute(outputs, targets), len(outputs[0]))

    def score(self, outputs: Outputs, targets: Targets | Outputs) -> Score:
        """Compute it with its interval: Wilson's for a share of samples, else by bootstrap."""
        _check_counts(self.name, outputs, targets)
        count, found = len(outputs[0]), self._compute(outputs, targets)
        value = self._mean(found, count)
        if found.ndim == 0:
            interval = interval_of_set(
                lambda rows: self._number(_rows(outputs, rows), _rows(targets, rows)), value, count
            )
        elif found.dtype == bool:
            return Score.of_share(value, count)
        else:
            interval = interval_of_mean(found)
        return Score(value=value, count=count, interval=interval)

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another."""
        return worse_by(self.direction, value, other) > 0

    def explain(self) -> str:
        """Say what it is, which way is better, and against what."""
        against = "the labels" if self.against == "labels" else "what the dense network answers"
        return f"{self.name}, {self.direction} is better, against {against}"

    def describe(self, value: float) -> str:
        """Write a value with its unit: 91.8 %, 32.1 dB, 0.0123."""
        return (
            f"{100 * value:.1f} %" if self.unit == "ratio" else f"{value:.4g} {self.unit}".strip()
        )

    def describe_change(self, amount: float) -> str:
        """Write a difference: 2.0 points, 0.5 dB, 0.0123."""
        if self.unit == "ratio":
            return f"{100 * amount:.1f} points"
        return f"{amount:.3g} {self.unit}".strip()

    def _mean(self, found: np.ndarray, count: int) -> float:
        value = float(found.mean()) if found.size else float("nan")
        if not np.isfinite(value):
            raise DataError(
                f"{self.name} is {value} on {count} samples, so nothing can be compared; it must "
                "be a finite number: look for outputs or targets that are not, and for too few "
                "samples of a class"
            )
        return value

    def _number(self, outputs: Outputs, targets: Targets | Outputs) -> float:
        found = self._compute(outputs, targets)
        return float(found.mean()) if found.size else float("nan")

    def _compute(self, outputs: Outputs, targets: Targets | Outputs) -> np.ndarray:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.asarray(self.function(_bare(outputs), _bare(targets)))
                found = found if found.dtype == bool else found.astype(np.float64)
        except (DataError, MemoryError):
            raise
        except Exception as error:
            raise DataError(
                f"{self.name} failed ({type(error).__name__}: {first_line(error)})"
            ) from error
        if found.ndim == 0 or found.shape == (len(outputs[0]),):
            return found
        raise DataError(
            f"{self.name} gives an array {found.shape} for {len(outputs[0])} samples; it must give "
            "one number, or one for each sample"
        )


def worse_by(direction: Direction, better: float, worse: float) -> float:
    """By how much the second value is worse than the first; negative where it is better."""
    return sign_of(direction) * (better - worse)


def _check_counts(name: str, outputs: Outputs, targets: Targets | Outputs) -> None:
    """An output without a batch axis has one value for each run."""
    if isinstance(targets, np.ndarray):
        count = len(targets)
    else:
        count = len(next(iter(targets.values() if isinstance(targets, Mapping) else targets)))
    if len(outputs[0]) != count:
        raise DataError(
            f"{name}: the network gives {len(outputs[0])} outputs for {count} samples; its first "
            "output needs a leading axis for the samples"
        )


def _bare(values: Targets | Outputs) -> Any:
    """One array as it is, not as a tuple of one."""
    if isinstance(values, np.ndarray | Mapping):
        return values
    return values[0] if len(values) == 1 else tuple(values)


def _rows(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, np.ndarray | Mapping):
        return take_targets(values, rows)
    return tuple(value[rows] for value in values)
