"""What to try: a fixed list of recipes, each a pipeline of passes under a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..backends.kernels.isa import instruction_set
from ..errors import UsageError
from ..metrics import Metric
from ..passes import DynamicQuantize, Pass
from ..passes.depth.drop_blocks import DropBlocks
from ..passes.factorize.factorize import Factorize
from ..passes.factorize.forms.base import Form
from ..passes.factorize.forms.depthwise import Separable
from ..passes.factorize.forms.separated import Fire
from ..passes.prune.prune import Prune
from ..passes.quantize.sixteen_bit import SixteenBit
from ..passes.quantize.static import Quantize
from ..passes.quantize.weight_only import WeightOnly
from ..targets import Board


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named pipeline; the empty one is the dense network."""

    name: str
    passes: tuple[Pass, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether a pass of the pipeline cannot do without calibration data."""
        return any(settings.needs_data for settings in self.passes)

    @property
    def float_passes(self) -> tuple[Pass, ...]:
        """Its passes up to the one that rounds, where one does."""
        return tuple(each for each in self.passes if not each.rounds_weights)

    def judged_by(self, metric: Metric) -> Recipe:
        """The same, its passes judged by this metric where they look at one."""
        return replace(self, passes=tuple(each.with_metric(metric) for each in self.passes))

    def describe(self) -> str:
        """Its passes with their settings."""
        return " → ".join(repr(settings) for settings in self.passes) or "nothing compressed"


def _prune(keep_ratio: float) -> Prune:
    return Prune(keep_ratio=keep_ratio, multiple_of=16)


def _split(form: Form) -> Factorize:
    return Factorize(max_error_ratio=0.5, multiple_of=16, forms=(form,))


DENSE = Recipe(name="dense")
RECIPES = (
    DENSE,
    Recipe(name="pruned-quarter", passes=(_prune(0.75),)),
    Recipe(name="pruned-half", passes=(_prune(0.5),)),
    Recipe(name="factorized", passes=(Factorize(max_error_ratio=0.2, multiple_of=16),)),
    Recipe(name="bf16", passes=(SixteenBit(dtype="bfloat16"),)),
    Recipe(name="fp16", passes=(SixteenBit(dtype="float16"),)),
    Recipe(name="int8-weights", passes=(WeightOnly(bits=8),)),
    Recipe(name="int8", passes=(Quantize(),)),
    Recipe(name="pruned-quarter-int8", passes=(_prune(0.75), Quantize())),
    Recipe(name="pruned-half-int8", passes=(_prune(0.5), Quantize())),
    Recipe(name="pruned-most-int8", passes=(_prune(0.25), Quantize())),
)
# Tried where they are named alone: with data, int8 is faster.
ON_REQUEST = (
    Recipe(name="int8-dynamic", passes=(DynamicQuantize(),)),
    Recipe(name="int4-weights", passes=(WeightOnly(bits=4, group_size=32, rounding="gptq"),)),
)

OF_PIECES = (
    Recipe(name="shallow", passes=(DropBlocks(count=1),)),
    Recipe(name="shallow-int8", passes=(DropBlocks(count=1), Quantize())),
    Recipe(name="fire", passes=(_split(Fire()),)),
    Recipe(name="separable", passes=(_split(Separable()),)),
    Recipe(name="pruned-most", passes=(_prune(0.25),)),
)
"""Tried on pieces, of whose cells few need be as coarse; on whole networks where named alone.

What crosses keeps its channels, so pieces pruned by half are slower than a whole network is.

Source  S. Liu et al., AdaSpring, IMWUT 2021: the operators δ1 (fire), δ2 (separable), δ4 (depth)
"""


def find_recipes(names: Sequence[str | Recipe]) -> tuple[Recipe, ...]:
    """The recipes of these names, the dense one always first; without names, `RECIPES`."""
    found = [find_recipe(name) if isinstance(name, str) else name for name in names or RECIPES]
    return (DENSE, *(recipe for recipe in found if recipe.name != DENSE.name))


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; UsageError lists the known ones."""
    known = {recipe.name: recipe for recipe in (*RECIPES, *ON_REQUEST, *OF_PIECES)}
    if name not in known:
        raise UsageError(f"no recipe named {name!r}; choose from {', '.join(known)}")
    return known[name]


def why_skipped(
    recipe: Recipe,
    *,
    boards: Sequence[Board],
    has_data: bool,
    named: bool,
    quantized: bool = False,
) -> str | None:
    """Why a recipe is not tried, or None; without data it could lose accuracy unseen.

    `named`: the user asked for it by name. `quantized`: the network came so.
    """
    if recipe.passes and quantized:
        return "the network came quantized; import the float network to compress it"
    unsuited = [why_unsuited(recipe, board) for board in boards]
    if unsuited and all(unsuited):
        return unsuited[0]
    if has_data or not recipe.passes:
        return None
    if recipe.needs_data:
        return "needs calibration data; give --data"
    if not named:
        return "what it loses cannot be checked; give --data, or ask for it with --recipe"
    return None


def why_unsuited(recipe: Recipe, board: Board) -> str | None:
    """Why a recipe's network would gain nothing on a board, or None."""
    for dtype in filter(None, (settings.needs_instruction for settings in recipe.passes)):
        if not instruction_set(board).multiplies(dtype):
            return f"{board.name} has no instruction that multiplies {dtype}"
    return None
