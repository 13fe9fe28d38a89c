"""Policies: which variant, or combination of cells, for which context."""

from .adaspring_rule import LambdaRule
from .balanced import Balanced
from .budget import Budget
from .deadline import Deadline
from .policy import Decide, Decision, Miss, Policy, Predicted

__all__ = [
    "Balanced",
    "Budget",
    "Deadline",
    "Decide",
    "Decision",
    "LambdaRule",
    "Miss",
    "Policy",
    "Predicted",
]
