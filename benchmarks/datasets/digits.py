"""Handwriting: scikit-learn's digits, 1,797 real images, enlarged to 32×32.

The source does not say who wrote which, so the parts are apart by image alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cache import cached
from .parts import Part, Parts

CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Settings:
    """How many images each part has; all that is left is for the test."""

    train_count: int = 800
    calibration_count: int = 200
    validation_count: int = 250
    seed: int = 0


def load(folder: Path, settings: Settings = Settings()) -> Parts:
    """The parts; images (n, 1, 32, 32) in [0, 1]."""
    return cached(folder, "digits", settings, lambda: _make(settings))


def _make(settings: Settings) -> Parts:
    from adaspring.cli.demo.data import digits

    halves = digits()
    x, y = (np.concatenate(arrays) for arrays in zip(*halves, strict=True))
    order = np.random.default_rng(settings.seed).permutation(len(x))
    counts = (settings.train_count, settings.calibration_count, settings.validation_count)
    return Parts(*(Part(x[at], y[at]) for at in np.split(order, np.cumsum(counts))))
