"""A policy that decides by the costs of here and now."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from ..context import Context
from ..evolve.spaces import Spaces
from ..policies import Decision, Policy
from ..policies.policy import Renewable
from .corrected import corrected
from .meter import Meter
from .ratios import Floats

_MOVED = log(1.05)
"""What costs have to move by for a policy to be prepared anew: it takes longer than to decide."""

_PAUSE_RATIO, _RENEWED_PAUSE_RATIO = 100.0, 1000.0
"""For how many times as long as that took it is not done again: what takes a millisecond
within an `adapt` is not to be done in each."""


class Prepared:
    """A policy, prepared for a library's spaces at one shape and for what a meter has learnt.

    The load that all calls show goes into each context, which costs nothing; ratios of single
    variants into the spaces, where they have moved.
    """

    def __init__(self, policy: Policy, spaces: Spaces, shape: int, meter: Meter) -> None:
        self._policy, self._spaces, self._shape, self._meter = policy, spaces, shape, meter
        self._decide = self._recorded = policy.prepare(spaces)
        self._changes_count = 0
        self._applied: Floats = np.zeros(1)
        self._due_s = -np.inf

    def __call__(self, context: Context, current: str | None = None) -> Decision:
        """Decide for a context; what is none, the policy refuses."""
        if isinstance(context, Context):
            context = self._meter.expect(context)
            if self._meter.lives.changes_count != self._changes_count:
                self._renew()
        return self._decide(context, current)

    def _renew(self) -> None:
        live = self._meter.lives
        start_s = live.clock()
        if start_s < self._due_s:
            return
        self._changes_count = live.changes_count
        moved = np.concatenate((live.logs(False), live.logs(True)))
        if np.abs(moved - self._applied).max() < _MOVED:
            return
        self._applied = moved
        hot, cold = live.factors(False), live.factors(True)
        each = tuple(corrected(space, hot, cold, self._shape) for space in self._spaces.each)
        spaces = replace(self._spaces, each=each)
        # always from what was recorded: a decision does not hang on how costs came to be so
        recorded = self._recorded
        if isinstance(recorded, Renewable) and recorded.is_of(self._policy, self._spaces):
            self._decide, pause_ratio = recorded.renewed(spaces), _RENEWED_PAUSE_RATIO
        else:
            self._decide, pause_ratio = self._policy.prepare(spaces), _PAUSE_RATIO
        end_s = live.clock()
        self._due_s = end_s + pause_ratio * (end_s - start_s)
