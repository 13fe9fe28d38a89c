"""The cells of each piece: the recipes that suit it, its crossings kept as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import AdaspringError
from ...frontend.data import Dataset
from ...ir.layers import layers
from ...ir.model import Model
from ...ir.same import is_same
from ...library.manifest import DecisionRecord
from ...passes import Step
from ...reference.executor import evaluate
from ..compressor import Compressor
from ..progress import Progress
from ..recipes import Recipe
from ..variants import decision_records
from .measure_child import cell_name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One compressed alternative of a piece; `segment` is the piece's number.

    `training` says how it was trained, or why what training made of it is not what it is.
    """

    segment: int
    recipe: Recipe
    model: Model
    steps: tuple[Step, ...] = ()
    training: DecisionRecord | None = None

    @property
    def name(self) -> str:
        """A name that no other cell of the network has."""
        return cell_name(self.segment, self.recipe.name)

    def decisions(self) -> tuple[DecisionRecord, ...]:
        """Every layer's decision, and the training after them, as the manifest records it."""
        planned = decision_records(self.model, self.steps)
        return planned if self.training is None else (*planned, self.training)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The network in pieces, and for each of them its cells, the dense one first."""

    dense: tuple[Model, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many cells each segment has."""
        return tuple(map(len, self.cells))

    @property
    def kinds(self) -> tuple[tuple[str, ...], ...]:
        """The recipe of each cell, by segment."""
        return tuple(tuple(cell.recipe.name for cell in cells) for cells in self.cells)

    @property
    def every(self) -> tuple[Cell, ...]:
        """All cells, segment after segment."""
        return tuple(cell for cells in self.cells for cell in cells)

    def layer_names(self, segment: int) -> tuple[str, ...]:
        """Name the layers of a piece."""
        return tuple(dict.fromkeys(layer.name for layer in layers(self.dense[segment])))


def make_cells(
    dense: Sequence[Model],
    recipes: Sequence[Recipe],
    calibration: Dataset,
    progress: Progress,
) -> Pieces:
    """Compress each piece by every recipe that changes it, calibrated by what crosses densely.

    A recipe that fails on a piece, leaves each of its layers alone, or comes to a network that
    another has come to, gives it no cell.
    """
    return compress_pieces(dense, recipes, compressors_of(dense, calibration), progress)


def compressors_of(dense: Sequence[Model], calibration: Dataset) -> tuple[Compressor, ...]:
    """Give each piece a compressor, which looks at what crosses to it in the dense network."""
    found = []
    for piece in dense:
        found.append(Compressor(piece, calibration))
        outputs = evaluate(piece, calibration)
        calibration = Dataset(inputs=outputs, targets=calibration.targets)
    return tuple(found)


def compress_pieces(
    dense: Sequence[Model],
    recipes: Sequence[Recipe],
    compressors: Sequence[Compressor],
    progress: Progress,
) -> Pieces:
    """Do what `make_cells` does, by these compressors."""
    found, total = [], len(dense) * len(recipes)
    for index, compressor in enumerate(compressors):
        cells = list[Cell]()
        for done, recipe in enumerate(recipes):
            progress.step("compress pieces", index * len(recipes) + done, total, recipe.name)
            cell = _cell(index, recipe, compressor)
            if cell is not None and not any(_equal(cell.model, each.model) for each in cells):
                cells.append(cell)
        found.append(tuple(cells))
    progress.step("compress pieces", total, total, "done")
    return Pieces(dense=tuple(dense), cells=tuple(found))


def _cell(segment: int, recipe: Recipe, compressor: Compressor) -> Cell | None:
    try:
        made = compressor.compress(recipe.passes)
    except AdaspringError:
        if not recipe.passes:
            raise
        return None
    cell = Cell(segment=segment, recipe=recipe, model=made.model, steps=made.steps)
    kept = all(decision.action == "kept" for decision in cell.decisions())
    return None if recipe.passes and kept else cell


def _equal(a: Model, b: Model) -> bool:
    """Whether two networks have the same weights, and so come of the same decisions."""
    same_names = a.weights.keys() == b.weights.keys()
    return same_names and all(is_same(value, b.weights[key]) for key, value in a.weights.items())
