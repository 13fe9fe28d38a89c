"""Which way each convolution is done: directly, or by Winograd's filtering where it is faster.

Both ways are lowered and tuned; then each layer takes the one whose function was measured faster.
What was not measured is done directly. A function is timed alone, its weights in the caches, where
those of a large network are not: so the time to read them from memory, modelled, is added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tvm import IRModule

from ..ir.model import Model
from ..targets import Board
from .build import Prepared, prepare
from .schedule.default import calls_of, task_module, weights_of
from .tuning.log.log import Record

# The fastest record of a function, None where there is none (`tuning.fastest_known`).
Known = Callable[[IRModule], Record | None]

WINOGRAD_TILES = (4, 2)
# ResNet-18 on two Zen 4 cores: the choice of layers by this was the fastest of six in the network.
_WEIGHTS_BYTES_PER_S = 20e9


@dataclass(frozen=True)
class Alternatives:
    """A network with every convolution direct, and with all that can be done by each tile."""

    model: Model
    direct: Prepared
    winograd: Mapping[int, Prepared]

    @property
    def modules(self) -> tuple[IRModule, ...]:
        """All functions that there are to tune."""
        return (self.direct.module, *(ready.module for ready in self.winograd.values()))


def alternatives(model: Model, board: Board) -> Alternatives:
    """Lower `model` in every way; BuildError where TVM cannot."""
    direct = prepare(model, board)
    tiles = WINOGRAD_TILES if direct.direct else ()
    every = {tile: dict.fromkeys(direct.direct, tile) for tile in tiles}
    return Alternatives(
        model, direct, {tile: prepare(model, board, names) for tile, names in every.items()}
    )


def fastest(ways: Alternatives, known: Known) -> Prepared:
    """Lower each layer in the way that was measured fastest."""
    if not ways.winograd:
        return ways.direct
    times = {0: _layer_seconds(ways.direct, known)} | {
        tile: _layer_seconds(ready, known) for tile, ready in ways.winograd.items()
    }
    chosen = {}
    for name in ways.direct.direct:
        best = min(times, key=lambda tile: times[tile].get(name, float("inf")))
        if best:
            chosen[name] = best
    return prepare(ways.model, ways.direct.board, chosen) if chosen else ways.direct


def _layer_seconds(ready: Prepared, known: Known) -> dict[str, float]:
    """Seconds of the functions that read each weight, where all of them were measured."""
    weights = weights_of(ready.module, ready.weights)
    found: dict[str, float] = defaultdict(float)
    for call in calls_of(ready.module):
        names = [weights[argument] for argument in call.args[1].fields if argument in weights]
        record = known(task_module(ready.module[call.args[0]])) if names else None
        for name in names:
            reading = ready.weights[name].nbytes / _WEIGHTS_BYTES_PER_S
            found[name] += float("inf") if record is None else record.best_s + reading
    return found
