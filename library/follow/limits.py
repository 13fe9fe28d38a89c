"""What a variant would break in a context, and what it holds of the memory."""

from __future__ import annotations

from ..context import Context
from ..evolve.spaces import Spaces
from ..manifest import Manifest
from ..policies import Balanced, Decide, Decision, Predicted
from ..policies.limits import limits_of
from ..policies.options import Options
from ..shapes.choice import decide_by_shape

_UNKNOWN = Predicted(metric=None, latency_ms=None, energy_mj=None, memory_bytes=None)


class Limits:
    """Answers for the variants and combinations of one library, from the costs in its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._present = decide_by_shape(_Present(), manifest)
        self._best = decide_by_shape(Balanced(), manifest)

    def broken(self, variant: str, context: Context) -> tuple[str, ...]:
        """Name the constraints that a variant does not meet, of those that any has figures for."""
        return self._present(context, variant).relaxed

    def can_be_met(self, context: Context) -> bool:
        """Tell whether something meets every constraint."""
        return not self._best(context).relaxed

    def held_bytes(self, variant: str) -> float:
        """What a variant holds at its peak besides its weights and code, or 0 if not known.

        Those are pages of files, which count as available memory while they are used.
        """
        costs = [known.cost for known in self._manifest.variants if known.name == variant]
        if not costs or costs[0].peak_memory_bytes is None:
            return 0.0
        return max(0.0, costs[0].peak_memory_bytes.value - costs[0].size_bytes.value)


class _Present:
    """A policy that keeps what runs, and says what that breaks."""

    def prepare(self, spaces: Spaces) -> Decide:
        options = Options(spaces.each)

        def decide(context: Context, current: str | None = None) -> Decision:
            limits = limits_of(context, spaces)
            unchecked = tuple(name for name, _ in limits.asked() if name not in options.known)
            for name in unchecked:
                limits = limits.but(name, None)
            here = None if current is None else options.named(current, limits.goal())
            return Decision(
                variant=current or spaces.plainest,
                reason="it runs",
                relaxed=() if here is None else limits.broken_by(here),
                unchecked=unchecked,
                missed=(),
                predicted=_UNKNOWN,
            )

        return decide
