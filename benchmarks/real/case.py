"""What a case gives: a file that somebody trained, samples for it, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adaspring.frontend.data import Dataset, Splits
from real.packages import Package


@dataclass(frozen=True)
class Ready:
    """An ONNX file, the shapes of its free inputs, and its samples.

    `training`: other samples, on which variants are retrained that lose too much.
    """

    onnx: Path
    samples: Dataset | Splits
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    training: Dataset | None = None


@dataclass(frozen=True)
class Case:
    """One row of the table; `prepare` makes its files in a folder.

    `metric` and `max_drop` are what a user would give to --metric and --max-drop.
    """

    name: str
    package: Package
    data: str
    metric: str | None
    max_drop: float | None
    prepare: Callable[[Path], Ready]
    recipes: tuple[str, ...] = ()
    retrain_time_s: float | None = None
