"""A network in pieces and the cells of each as one module, trained on shared weights.

The pieces of the dense network stay as they are. Cells read slices of one copy of its weights, as
members of an ensemble do (members.py). Each step runs the dense network, which is the largest
combination and teaches, the smallest, and some at random (the sandwich rule).

Source  J. Yu, T. Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np
from torch import Tensor

from ..ir.model import Model
from .ensemble import Part
from .lift import TorchModel, place
from .members import Member
from .objective import answers_of, compared

Cells = tuple[int, ...]
"""For each piece which cell runs: 0 is the piece of the dense network."""

VALIDATED = 16
"""How many combinations are run after each epoch, the same ones each time."""


class Combinations(TorchModel):
    """The dense network's weights as parameters; cells of its pieces read slices of them.

    A run gives, for each combination that takes part, what is compared, what crosses between its
    pieces, and its other outputs.
    """

    reads_all_each_step = False

    def __init__(
        self,
        dense: Model,
        pieces: Sequence[Model],
        cells: Sequence[Mapping[str, Member]],
        sampled: int,
        seed: int,
    ):
        super().__init__(dense)
        self._sampled, self._seed = sampled, seed
        self._compared_count = len(compared(dense))
        self._parts: list[list[TorchModel]] = []
        for index, (piece, members) in enumerate(zip(pieces, cells, strict=True)):
            self._add_piece(index, piece, members, is_last=index == len(pieces) - 1)
        self._smallest = tuple(map(_smallest, cells))
        self.taking_part: tuple[Cells, ...] = ()
        self.at_step(None)

    def _add_piece(
        self, index: int, piece: Model, members: Mapping[str, Member], *, is_last: bool
    ) -> None:
        """Take up the dense piece, which is not trained, and its cells."""
        dense = TorchModel(piece).requires_grad_(False)
        self.add_module(f"piece {index}", dense)
        parts = [
            Part(name, f"piece {index} cell {number}", member)
            for number, (name, member) in enumerate(members.items(), 1)
        ]
        for path, value in (own for part in parts for own in part.own.items()):
            place(self, path, value)
        self._parts.append([dense, *parts])
        for part in self._parts[-1] if is_last else ():
            part.wanted = answers_of(part.model)

    def at_step(self, step: int | None) -> None:
        """Choose which combinations take part, by seed and step; in validation always the same."""
        sizes = [len(parts) for parts in self._parts]
        skip, count = {(0,) * len(sizes), self._smallest}, self._sampled
        drawn_by = (self._seed,) if step is None else (self._seed, step)
        if step is None:
            count = VALIDATED - 1
        rng = np.random.default_rng(drawn_by)
        self.taking_part = (self._smallest, *draw(sizes, count, rng, skip))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Give the answers of the combinations that take part; what begins alike is run once."""
        held = self.tensors()
        chosen = {pair for cells in self.taking_part for pair in enumerate(cells)}
        for part in (self._parts[piece][cell] for piece, cell in chosen):
            if isinstance(part, Part):
                part.given = part.weights(held)
        found: list[Tensor] = []
        done: dict[Cells, tuple[Tensor, ...]] = {(): inputs}
        for cells in self.taking_part:
            found += self._run_combination(cells, done)
        return tuple(found)

    def _run_combination(
        self, cells: Cells, done: dict[Cells, tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Run the pieces that have not been run; `done`: what they gave, by the cells so far."""
        for piece, cell in enumerate(cells):
            begun = cells[: piece + 1]
            if begun not in done:
                done[begun] = self._parts[piece][cell](*done[cells[:piece]])
        answers, count = done[cells], self._compared_count
        crossings = [done[cells[:index]][0] for index in range(1, len(cells))]
        return (*answers[:count], *crossings, *answers[count:])

    def weights_read(self) -> frozenset[str]:
        """Name the parameters that decide what any cell gives."""
        every = (part for parts in self._parts for part in parts if isinstance(part, Part))
        return frozenset().union(*(part.ensemble_read() for part in every))

    def cells(self) -> tuple[dict[str, Model], ...]:
        """Return the cells of each piece as networks, with the weights as they are now."""
        held = self.tensors()
        return tuple(
            {part.name: part.cut(held) for part in parts if isinstance(part, Part)}
            for parts in self._parts
        )


def draw(
    sizes: Sequence[int], count: int, rng: np.random.Generator, skip: Collection[Cells]
) -> tuple[Cells, ...]:
    """Draw different combinations, none of them in `skip`; all others where they are no more.

    `sizes`: how many cells each piece has.
    """
    found = dict[Cells, None]()
    wanted = min(count, prod(sizes) - len(skip))
    while len(found) < wanted:
        cells = tuple(int(cell) for cell in rng.integers(sizes))
        if cells not in skip:
            found[cells] = None
    return tuple(found)


def _smallest(members: Mapping[str, Member]) -> int:
    """The cell of the fewest multiply-adds, where there is any but the dense piece."""
    counts = [member.macs_count for member in members.values()]
    return 1 + counts.index(min(counts)) if counts else 0
