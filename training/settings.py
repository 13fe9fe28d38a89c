"""What retraining is asked to do: frozen values, whose repr is the log line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How much of the teacher a network learns.

    loss = label_ratio * L + (1 - label_ratio) * S + feature_ratio * F. L is cross-entropy with the
    labels, where there are any (without, S counts whole). S is T² times the divergence between the
    teacher's scores and the network's, both softened by T, the `temperature` (Hinton et al.,
    Distilling the Knowledge in a Neural Network, 2015). F is the mean squared error between outputs
    of layers that have equal shapes, over the teacher's mean square (after Romero et al., FitNets,
    ICLR 2015, whose hint layer is one; here all that fit).
    """

    temperature: float = 4.0
    label_ratio: float = 0.1
    feature_ratio: float = 1.0

    def __post_init__(self) -> None:
        _check(self.temperature > 0, "temperature", self.temperature, "above 0")
        _check(0 <= self.label_ratio <= 1, "label_ratio", self.label_ratio, "from 0 to 1")
        _check(0 <= self.feature_ratio < 1e6, "feature_ratio", self.feature_ratio, "0 or more")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is trained: AdamW, the learning rate falling to 0 along half a cosine.

    `batch` samples make one step, over all processes together. Training stops after `epochs`, or
    `patience` epochs after the best on the validation data. Weight decay is on weights of two or
    more axes. `time_limit_s`: the learning rate falls to 0 within these seconds, over as many steps
    as they leave time for, estimated from the first ones and corrected after each epoch.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 5
    seed: int = 0
    distillation: Distillation | None = None
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        _check(self.epochs > 0, "epochs", self.epochs, "above 0")
        _check(self.batch > 0, "batch", self.batch, "above 0")
        _check(0 < self.learning_rate < 1e6, "learning_rate", self.learning_rate, "above 0")
        _check(0 <= self.weight_decay < 1, "weight_decay", self.weight_decay, "from 0 to below 1")
        _check(self.patience > 0, "patience", self.patience, "above 0")
        _check(self.seed >= 0, "seed", self.seed, "0 or more")
        limit_s = self.time_limit_s
        _check(limit_s is None or 0 < limit_s < math.inf, "time_limit_s", limit_s or 0, "above 0")


def _check(right: bool, name: str, value: float, wanted: str) -> None:
    if not right:
        raise UsageError(f"{name} is {value:g}; give a number {wanted}")
