"""What training minimises, and the metric by which its best epoch is chosen."""

from .judge import Judge
from .loss import AskedLoss, Loss, find_loss, loss_name
from .objective import Objective, compared, match_layers, scores

__all__ = [
    "AskedLoss",
    "Judge",
    "Loss",
    "Objective",
    "compared",
    "find_loss",
    "loss_name",
    "match_layers",
    "scores",
]
