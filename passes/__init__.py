"""Passes make a network smaller: each plans printable decisions, then applies them."""

from .decision import Decision, Kept, Pass
from .runner import Compressed, Step, run

__all__ = ["Compressed", "Decision", "Kept", "Pass", "Step", "run"]
