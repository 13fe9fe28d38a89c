"""From a context to a decision, for every policy alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, isnan

from ...errors import UsageError
from ..context import Context
from ..evolve.found import Quantity
from ..evolve.spaces import Spaces
from .limits import Limits, limits_of
from .options import Option, Options
from .policy import Decision, Miss, Policy, Predicted
from .settle import Judge, settle


@dataclass(frozen=True)
class Wish:
    """What a policy wants in a context: how it judges, in words too, and the energy for a call.

    `latency_margin_ratio` is the share of the latency's limit to keep free where something can.
    """

    judge: Judge
    why: str
    energy_limit_mj: float | None = None
    latency_margin_ratio: float = 0.0


class Decider:
    """Decides for contexts by what a policy wishes in each.

    `wishes` gives, for options, what the policy wishes in a context.
    """

    def __init__(
        self,
        policy: Policy,
        options: Options,
        wishes: Callable[[Options], Callable[[Context], Wish]],
    ) -> None:
        self._policy, self._spaces, self._options = policy, options.offer, options
        self._wishes, self._wish = wishes, wishes(options)

    def is_of(self, policy: Policy, spaces: Spaces) -> bool:
        """Tell whether it is that policy alone, and read just these spaces."""
        return self._policy is policy and self._spaces is spaces

    def renewed(self, spaces: Spaces) -> Decider:
        """Return the same for spaces that differ in latencies alone, in less time."""
        return Decider(self._policy, self._options.renewed(spaces), self._wishes)

    def __call__(self, context: Context, current: str | None = None) -> Decision:
        """Decide for a context.

        Raises:
            UsageError: it is no context, or a floor or what the policy needs is not in it.

        """
        if not isinstance(context, Context):
            raise UsageError(
                f"the context is {context!r}; give an adaspring.Context, for example "
                "Context(battery_ratio=0.2)"
            )
        wish = self._wish(context)
        limits = limits_of(context, self._spaces, wish.energy_limit_mj)
        unchecked = tuple(n for n, _ in limits.asked() if n not in self._options.known)
        for name in unchecked:
            limits = limits.but(name, None)
        now = None if current is None else self._options.named(current, limits.goal())
        chosen, note = settle(self._options, wish.judge, self._with_margin(limits, wish), now)
        missed = tuple(self._miss(name, limits, chosen) for name in limits.broken_by(chosen))
        return Decision(
            variant=self._options.name(chosen),
            reason="; ".join(_reason(wish.why, note, missed, unchecked)),
            relaxed=tuple(miss.constraint for miss in missed),
            unchecked=unchecked,
            missed=missed,
            predicted=self._predicted(chosen),
        )

    def _with_margin(self, limits: Limits, wish: Wish) -> Limits:
        """Return limits that keep the wished share of the latency's free, where something can.

        The margin gives way before any limit does, but for the metric's floor.
        """
        if limits.latency is None or wish.latency_margin_ratio == 0.0:
            return limits
        tighter = limits.but("latency", limits.latency * (1.0 - wish.latency_margin_ratio))
        if wish.judge.pick(tighter) is not None:
            return tighter
        if wish.judge.pick(limits) is not None or limits.metric is None:
            return limits
        return tighter if wish.judge.pick(tighter.but("metric", None)) is not None else limits

    def _miss(self, name: Quantity, limits: Limits, chosen: Option) -> Miss:
        limit, figure = getattr(limits, name), chosen.figure(name)
        units = {"metric": self._spaces.unit, "latency": "ms", "energy": "mJ", "memory": "bytes"}
        amount = abs(figure - limit) if isfinite(figure) else None
        ratio = None if amount is None or limit == 0 else amount / abs(limit)
        return Miss(constraint=name, amount=amount, unit=units[name], ratio=ratio)

    def _predicted(self, chosen: Option) -> Predicted:
        found = chosen.found
        return Predicted(
            metric=_known(found.metric * self._spaces.metric_sign),
            latency_ms=_known(found.latency_ms),
            energy_mj=_known(found.energy_mj),
            memory_bytes=_known(found.memory_bytes),
        )


def _known(figure: float) -> float | None:
    return None if isnan(figure) else figure


def _reason(why: str, note: str, missed: tuple[Miss, ...], unchecked: tuple[str, ...]) -> list[str]:
    parts = [why]
    if note:
        parts.append(note)
    if missed:
        names = " and ".join(miss.constraint for miss in missed)
        amounts = " and ".join(miss.describe() for miss in missed)
        parts.append(f"not every constraint is met: gave up {names}, missed by {amounts}")
    if unchecked:
        parts.append(f"no figures to check {' and '.join(unchecked)}")
    return parts
