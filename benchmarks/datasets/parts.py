"""What every data set gives: four parts without a common sample, and a file for `adaspring`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """Samples (n, channels, height, width) float32, and their classes (n,) int64."""

    x: np.ndarray
    y: np.ndarray


class Parts(NamedTuple):
    """`train` and `calibration` come from the same people; the others from people of their own.

    What is chosen is chosen on `calibration` and `validation`; `test` is only reported.
    """

    train: Part
    calibration: Part
    validation: Part
    test: Part


def write_npz(path: Path, part: Part) -> None:
    """Write a part as the file that `adaspring compile --data` takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=part.x, y=part.y)
