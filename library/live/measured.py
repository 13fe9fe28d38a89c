"""What a net shows of its calls: what they cost, and hooks that hear of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..native.turns import SWITCH_VARIANT, Turn
from .costs import LiveCosts
from .hooks import Call, Hook
from .meter import Meter

if TYPE_CHECKING:
    from ..net import Switch


class Measured:
    """The base of a net, whose calls `meter` measures.

    `on_switch`, `on_call` and `on_late` (a call above the latency budget that was adapted to last)
    take functions to be told of each; docs/app.md, Live costs.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.on_switch: Hook[Switch] = meter.on_switch
        self.on_call: Hook[Call] = meter.on_call
        self.on_late: Hook[Call] = meter.on_late
        self._switching = Turn(SWITCH_VARIANT)

    def costs(self) -> LiveCosts:
        """Tabulate what calls take, as recorded in the library and as measured in this net."""
        with self._switching:
            return self._meter.costs()

    def save_costs(self, path: str | Path) -> None:
        """Write what was learnt of costs, for `Library.open(costs=path)` to go on from.

        Raises:
            CostsError: the file cannot be written.

        """
        with self._switching:
            self._meter.save(Path(path))
