"""Passes make a network smaller: each plans printable decisions, then applies them."""

from .decision import Decision, Kept, Pass
from .depth import DropBlocks
from .dynamic_quantize import DynamicQuantize
from .equalize import Equalize
from .factorize import Factorize
from .half import Half
from .mixed_precision import MixedPrecision
from .prune import Prune
from .quantize import Quantize
from .ranks import ByCost, ByEnergy, ByError, ByVbmf
from .runner import Compressed, Step, run
from .smooth import Smooth
from .weight_only import WeightOnly

__all__ = [
    "ByCost",
    "ByEnergy",
    "ByError",
    "ByVbmf",
    "Compressed",
    "Decision",
    "DropBlocks",
    "DynamicQuantize",
    "Equalize",
    "Factorize",
    "Half",
    "Kept",
    "MixedPrecision",
    "Pass",
    "Prune",
    "Quantize",
    "Smooth",
    "Step",
    "WeightOnly",
    "run",
]
