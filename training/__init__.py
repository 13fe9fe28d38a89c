"""Retraining: what compression cost in accuracy is won back on the compressed network itself."""

from .cells import TrainedCells, train_cells
from .distributed import Ranks, join_group, launch, started_by_torchrun
from .export import pt2_bytes
from .fake_quantize import QuantizationAware
from .lift import TorchModel
from .objective import AskedLoss, Loss, find_loss
from .run.checkpoint import Epoch
from .settings import Distillation, Settings
from .together import TrainedTogether, train_together
from .train import Diverged, Trained, train

__all__ = [
    "AskedLoss",
    "Distillation",
    "Diverged",
    "Epoch",
    "Loss",
    "QuantizationAware",
    "Ranks",
    "Settings",
    "TorchModel",
    "Trained",
    "TrainedCells",
    "TrainedTogether",
    "find_loss",
    "join_group",
    "launch",
    "pt2_bytes",
    "started_by_torchrun",
    "train",
    "train_cells",
    "train_together",
]
