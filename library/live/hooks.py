"""What an app hears of a net: its switches, its calls, its calls that were late."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...errors import UsageError

Event = TypeVar("Event")
Callback = TypeVar("Callback", bound=Callable[..., object])

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that has ended: the variant that ran it, what it took, and why that variant ran.

    `latency_budget_ms` is that of the context that the net adapted to last, None where it had none.
    """

    variant: str
    latency_ms: float
    latency_budget_ms: float | None
    reason: str


class Hook(Generic[Event]):
    """Functions that are told of an event, in the thread in which it happens.

    One that fails harms nobody: its first failure is logged with its traceback, and it is called
    on. What a function does that would tell the hook again, in the same thread, is not told.
    """

    def __init__(self) -> None:
        self.functions: tuple[Callable[[Event], object], ...] = ()
        self._failed: set[int] = set()
        self._telling = threading.local()

    def __call__(self, function: Callback) -> Callback:
        """Add a function, which is returned, so that a hook is a decorator too.

        Raises:
            UsageError: it cannot be called.

        """
        if not callable(function):
            raise UsageError(f"{function!r} cannot be called; give a function of one argument")
        self.functions = (*self.functions, function)
        return function

    def remove(self, function: Callable[[Event], object]) -> None:
        """Take a function away; UsageError where it is not there."""
        if function not in self.functions:
            raise UsageError(f"{function!r} was not added to this hook, or was removed already")
        self.functions = tuple(each for each in self.functions if each != function)

    def tell(self, event: Event) -> None:
        """Call the functions one after the other."""
        if getattr(self._telling, "now", False):
            return
        self._telling.now = True
        try:
            for function in self.functions:
                self._call(function, event)
        finally:
            self._telling.now = False

    def _call(self, function: Callable[[Event], object], event: Event) -> None:
        try:
            function(event)
        except Exception:
            if id(function) not in self._failed:
                self._failed.add(id(function))
                _log.exception("%r failed on %r; it is called on, silently", function, event)
