"""What was learnt of the calls of one net, for each of its libraries by itself.

What all variants of a library share (throttling, other work) is its board's: a busy processor makes
no GPU slower. Among the libraries it counts as the variants' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np

from ..live.live import Factors, Live
from ..live.ratios import Floats


class Lives:
    """The live costs of a net: `each` has those of one library."""

    def __init__(self, each: Sequence[Live]) -> None:
        self.each = tuple(each)
        self.clock = each[0].clock
        self._by_variant = {name: live for live in each[1:] for name in live.names}

    def of(self, variant: str) -> Live:
        """Return where calls of a variant are kept; of a combination of cells, with the first's."""
        return self._by_variant.get(variant, self.each[0])

    @property
    def changes_count(self) -> int:
        """How often something was learnt."""
        return sum(live.changes_count for live in self.each)

    def learn(self) -> None:
        """Take in the calls since the last time."""
        for live in self.each:
            live.learn()

    def expect(self, stretch: float) -> None:
        """Take in what other work is said to stretch calls by; on which board is not said."""
        for live in self.each:
            live.expect(stretch)

    def common_ratio(self, cold: bool) -> float:
        """What the first library's latencies are to be multiplied by."""
        return self.each[0].common_ratio(cold)

    def factors(self, cold: bool) -> Factors:
        """Return the first library's factors; what another shares beyond that is its names' own."""
        first, *others = (live.factors(cold) for live in self.each)
        own = dict(first.own_ratios)
        for factors in others:
            beyond = factors.common_ratio / first.common_ratio
            own |= {name: ratio * beyond for name, ratio in factors.own_ratios.items()}
        return replace(first, own_ratios=own)

    def logs(self, cold: bool) -> Floats:
        """Logarithms that say how far `factors` moved."""
        first = self.common_ratio(cold)
        beyond = [log(live.common_ratio(cold) / first) for live in self.each[1:]]
        return np.concatenate([*(live.logs(cold) for live in self.each), beyond])
