"""What a run of the explorer is asked to make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..backends.rpc.protocol import Address
from ..backends.tuning import Tuning
from ..frontend.data import Dataset, Splits
from ..ir.model import Model
from ..targets import Board
from .gate import Bounds
from .recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to make. One library a board: `output` itself for one board, else `output`/BOARD.

    `recipes_named`: the user asked for these recipes by name, so without data those that need
    none are tried although their accuracy cannot be checked. `tracker`: where boards that are not
    this machine are registered, so that schedules are timed on them. `cluster`: where the scheduler
    of a dask.distributed cluster is, so that its hosts build. `training`: samples on which recipes
    are retrained that lost more accuracy than `bounds` allows; with `together`, all are trained on
    them first, on shared weights.
    """

    model: Model
    boards: tuple[Board, ...]
    output: Path
    recipes: tuple[Recipe, ...]
    bounds: Bounds
    tuning: Tuning
    logs: Path
    splits: Splits | None = None
    recipes_named: bool = True
    tracker: Address | None = None
    cluster: str | None = None
    training: Dataset | None = None
    together: bool = False

    def folder(self, board: Board) -> Path:
        """Where the library of a board goes."""
        return self.output if len(self.boards) == 1 else self.output / board.name
