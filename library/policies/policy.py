"""What a policy is, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..context import Context
from ..evolve.spaces import Spaces


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A constraint that the choice does not meet.

    `amount` is by how much, in `unit`: ms, bytes, mJ, or the metric's; `ratio` the same as a share
    of what was asked. None: the choice has no figure to tell.
    """

    constraint: str
    amount: float | None
    unit: str
    ratio: float | None

    def describe(self) -> str:
        """Return by how much, for people: 0.7 ms (3.0 %), 7 ms (720 times), 0.01 (1.0 %)."""
        if self.amount is None:
            return "an unknown amount"
        unit = "" if self.unit in ("", "ratio") else f" {self.unit}"
        if self.ratio is None:
            return f"{self.amount:.3g}{unit}"
        times = f"{100 * self.ratio:.1f} %" if self.ratio < 10 else f"{self.ratio:.0f} times"
        return f"{self.amount:.3g}{unit} ({times})"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a call of the choice will take and yield, under the context's load. None: not known.

    `metric` is in the library's own unit and direction; the latency is the 90th percentile.
    """

    metric: float | None
    latency_ms: float | None
    energy_mj: float | None
    memory_bytes: float | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A chosen variant or combination of cells, by name, and why.

    `relaxed` names the constraints that it does not meet, `missed` says by how much; `unchecked`
    are those that could not be checked, since nothing has that figure.
    """

    variant: str
    reason: str
    relaxed: tuple[str, ...]
    unchecked: tuple[str, ...]
    missed: tuple[Miss, ...]
    predicted: Predicted


class Decide(Protocol):
    """A policy that knows a library's costs."""

    def __call__(self, context: Context, current: str | None = None) -> Decision:
        """Decide for a context; `current` is the name of what runs now, None when a net opens."""
        ...


@runtime_checkable
class Renewable(Decide, Protocol):
    """A policy that knows a library's costs, and takes in new latencies in little time."""

    def is_of(self, policy: Policy, spaces: Spaces) -> bool:
        """Tell whether it is that policy alone, and read just these spaces.

        What another policy wraps, or gives other spaces to, is prepared anew by that one.
        """
        ...

    def renewed(self, spaces: Spaces) -> Decide:
        """Return what `prepare` would for spaces that differ in latencies alone."""
        ...


class Policy(Protocol):
    """Anything that prepares for what a library can run, then decides for each context."""

    def prepare(self, spaces: Spaces) -> Decide:
        """Read the costs once; call it again when they change."""
        ...
