"""Compress one network by many recipes; what two recipes begin with alike is done once."""

from __future__ import annotations

from collections.abc import Mapping

from ..frontend.data import Dataset
from ..ir.model import Model
from ..passes import Compressed, Pass, run

Passes = tuple[Pass, ...]


def name_of(passes: Passes) -> str:
    """Tell a pipeline from any other, in words."""
    return " ".join(map(repr, passes))


class Compressor:
    """Applies pipelines to one network. `done`: those that were applied before."""

    def __init__(
        self,
        model: Model,
        calibration: Dataset | None,
        done: Mapping[Passes, Compressed] | None = None,
    ) -> None:
        self.calibration = calibration
        self._dense = Compressed(model=model, steps=())
        self._done: dict[Passes, Compressed] = {(): self._dense, **(done or {})}
        self._training: dict[Passes, str] = {}

    def compress(self, passes: Passes) -> Compressed:
        """Apply passes in order, each beginning of them once."""
        if passes not in self._done:
            before = self.compress(passes[:-1])
            after = run(before.model, passes[-1:], self.calibration)
            steps = (*before.steps, *after.steps)
            self._done[passes] = Compressed(model=after.model, steps=steps)
        return self._done[passes]

    def replace(self, trained: Mapping[Passes, Compressed], how: str) -> None:
        """Go on from trained networks where pipelines begin with these passes."""
        self._done = {(): self._dense, **trained}
        self._training = dict.fromkeys(sorted(trained, key=len, reverse=True), how)

    def training_of(self, passes: Passes) -> str | None:
        """How the network was trained that a pipeline begins with, or None."""
        return next(
            (how for begun, how in self._training.items() if passes[: len(begun)] == begun), None
        )
