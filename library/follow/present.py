"""A policy that keeps what runs, and says what that breaks and takes."""

from __future__ import annotations

from math import isnan

from ..context import Context
from ..evolve.found import Found
from ..evolve.spaces import Spaces
from ..policies import Decide, Decision, Policy, Predicted
from ..policies.limits import limits_of
from ..policies.options import Options


class Present:
    """`relaxed` are the constraints that the present variant does not meet.

    An unknown figure does not meet one, unless no variant has that figure.
    """

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; a decision is then a look into them."""
        return _Keep(self, Options(spaces))


class _Keep:
    def __init__(self, policy: Policy, options: Options) -> None:
        self._policy, self._options = policy, options

    def is_of(self, policy: Policy, spaces: Spaces) -> bool:
        return self._policy is policy and self._options.offer is spaces

    def renewed(self, spaces: Spaces) -> _Keep:
        return _Keep(self._policy, self._options.renewed(spaces))

    def __call__(self, context: Context, current: str | None = None) -> Decision:
        options, spaces = self._options, self._options.offer
        name = spaces.plainest if current is None else current
        limits = limits_of(context, spaces)
        unchecked = tuple(asked for asked, _ in limits.asked() if asked not in options.known)
        for asked in unchecked:
            limits = limits.but(asked, None)
        here = options.named(name, limits.goal())
        return Decision(
            variant=name,
            reason="it runs",
            relaxed=() if here is None else limits.broken_by(here),
            unchecked=unchecked,
            missed=(),
            predicted=_predicted(None if here is None else here.found, spaces.metric_sign),
        )


def _predicted(found: Found | None, metric_sign: float) -> Predicted:
    if found is None:
        return Predicted(metric=None, latency_ms=None, energy_mj=None, memory_bytes=None)
    return Predicted(
        metric=_known(found.metric * metric_sign),
        latency_ms=_known(found.latency_ms),
        energy_mj=_known(found.energy_mj),
        memory_bytes=_known(found.memory_bytes),
    )


def _known(figure: float) -> float | None:
    return None if isnan(figure) else figure
