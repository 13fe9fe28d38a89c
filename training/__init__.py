"""Retraining: what compression cost in accuracy is won back on the compressed network itself."""

from .checkpoint import Epoch
from .fake_quantize import QuantizationAware
from .lift import Lifted
from .settings import Distillation, Settings
from .train import Diverged, Trained, train

__all__ = [
    "Distillation",
    "Diverged",
    "Epoch",
    "Lifted",
    "QuantizationAware",
    "Settings",
    "Trained",
    "train",
]
