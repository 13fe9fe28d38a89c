"""What training minimises, and the metric by which its best epoch is chosen."""

from .in_place import InPieces, InPlace, answers_of
from .judge import Judge
from .loss import AskedLoss, Loss, find_loss, loss_name
from .objective import Objective, compared, match_layers, scores

__all__ = [
    "AskedLoss",
    "InPieces",
    "InPlace",
    "Judge",
    "Loss",
    "Objective",
    "answers_of",
    "compared",
    "find_loss",
    "loss_name",
    "match_layers",
    "scores",
]
