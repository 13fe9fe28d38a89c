"""Passes make a network smaller: each plans printable decisions, then applies them."""

from .decision import Decision, Kept, Pass
from .depth.drop_blocks import DropBlocks
from .factorize.factorize import Factorize
from .factorize.ranks import ByCost, ByEnergy, ByError, ByVbmf
from .prune.prune import Prune
from .quantize.dynamic import DynamicQuantize
from .quantize.mixed_precision import MixedPrecision
from .quantize.sixteen_bit import SixteenBit
from .quantize.static import Quantize
from .quantize.weight_only import WeightOnly
from .rescale.equalize import Equalize
from .rescale.smooth import Smooth
from .runner import Compressed, Step, run

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
    "Kept",
    "MixedPrecision",
    "Pass",
    "Prune",
    "Quantize",
    "SixteenBit",
    "Smooth",
    "Step",
    "WeightOnly",
    "run",
]
