"""Which constraints give way where nothing meets them all, and whether to leave what runs now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Protocol

from ..evolve.found import Quantity
from .limits import CONSTRAINTS, TOLERANCE_RATIO, Limits, is_met
from .options import Option, Options
from .utility import Utility


class Judge(Protocol):
    """What a policy wants in one context, within limits."""

    @property
    def noise(self) -> float:
        """What the metric differs by through chance."""
        ...

    def pick(self, limits: Limits) -> Option | None:
        """Return the best that meets the limits, None where nothing does."""
        ...

    def is_better(self, new: Option, now: Option) -> bool:
        """Tell whether a switch pays, and would were the context a little different."""
        ...


def settle(
    options: Options, judge: Judge, limits: Limits, now: Option | None
) -> tuple[Option, str]:
    """Return the best option, or `now`, what runs, where leaving it does not pay; and why so.

    What runs is left at once where it breaks a constraint that can be met. Otherwise only what is
    better, and meets every constraint with room to spare, takes its place: contexts are noisy, and
    what only just fits would have to be left again.
    """
    if now is not None and not limits.broken_by(now):
        return _improve(judge, _tightened(limits, CONSTRAINTS, judge.noise), now)
    best = judge.pick(limits)
    if best is None:
        return _settle_relaxed(options, judge, limits, now)
    return (best, "") if now is None else _leave(options, judge, limits, now, best)


@dataclass(frozen=True)
class _Relaxed:
    """Limits that something meets, what judges within them, and the best of it."""

    limits: Limits
    judge: Judge
    best: Option


def _settle_relaxed(
    options: Options, judge: Judge, limits: Limits, now: Option | None
) -> tuple[Option, str]:
    """Settle where nothing meets every limit."""
    relaxed = _relax(options, judge, limits)
    if now is None:
        return relaxed.best, ""
    if not relaxed.limits.broken_by(now):
        room = _room(limits, relaxed.limits, judge.noise, now)
        return _improve(relaxed.judge, room, now)
    nearly = _given_up_loosened(limits, relaxed.limits)
    if nearly != limits and _would_stay(options, _relax(options, judge, nearly), now):
        return now, "stays: what gives way is missed by little"
    return _leave(options, relaxed.judge, relaxed.limits, now, relaxed.best)


def _would_stay(options: Options, relaxed: _Relaxed, now: Option) -> bool:
    """Tell whether what runs would stay within other limits."""
    if not relaxed.limits.broken_by(now):
        return True
    there, _ = _leave(options, relaxed.judge, relaxed.limits, now, relaxed.best)
    return there.is_same(now)


def _relax(options: Options, judge: Judge, limits: Limits) -> _Relaxed:
    """Give up limits, the lightest first, until something meets those left.

    Without the floor the metric alone is judged by. Another limit is bound anew, the gravest
    first: within the tolerance of what comes nearest to it, since of what is nearly as near
    another may be far better otherwise.
    """
    if limits.metric is not None:
        by_metric, rest = Utility(options), limits.but("metric", None)
        best = by_metric.pick(rest)
        if best is not None:
            return _Relaxed(rest, by_metric, best)
    kept, nearest = limits.without(), None
    given_up: list[Quantity] = []
    for name, limit in reversed(limits.asked()):
        nearest = options.least(name, kept.goal())
        if nearest is not None and is_met(name, limit, nearest.figure(name)):
            kept = kept.but(name, limit)
        else:
            given_up.append(name)
    if "metric" in given_up:
        given_up.remove("metric")
        judge = Utility(options)
    for name in given_up:
        nearest = options.least(name, kept.goal()) or nearest
        figure = nan if nearest is None else nearest.figure(name)
        kept = kept if isnan(figure) else kept.but(name, figure * (1.0 + TOLERANCE_RATIO))
    best = judge.pick(kept) or nearest
    assert best is not None, "a space has something that may run"
    return _Relaxed(kept, judge, best)


def _leave(
    options: Options, judge: Judge, limits: Limits, now: Option, best: Option
) -> tuple[Option, str]:
    """Return what to run in place of what breaks a limit.

    A limit that could only be met at the edge of a graver one stays broken until there is room:
    else the graver one would be broken next.
    """
    gravest = limits.broken_by(now)[-1]
    graver = CONSTRAINTS[CONSTRAINTS.index(gravest) + 1 :]
    room = _tightened(limits, graver, judge.noise)
    if not room.broken_by(best):
        return best, ""
    there = judge.pick(room)
    if there is not None:
        return there, ""
    less = _relax(options, judge, room)
    has_room = all(getattr(less.limits, name) == getattr(room, name) for name in graver)
    if has_room and _is_nearer(gravest, less.best, now, judge.noise):
        return less.best, ""
    return now, "stays: what meets more has no room to spare"


def _improve(judge: Judge, room: Limits, now: Option) -> tuple[Option, str]:
    best = judge.pick(room)
    if best is None:
        return now, "stays: nothing else has room to spare"
    if best.is_same(now):
        return now, ""
    return (best, "") if judge.is_better(best, now) else (now, "stays: nothing is clearly better")


def _room(limits: Limits, relaxed: Limits, noise: float, now: Option) -> Limits:
    """Return relaxed limits with room to spare in those that are kept.

    One that is missed by little may be met again soon: nothing further from it than `now` will do.
    """
    kept = tuple(name for name, limit in limits.asked() if getattr(relaxed, name) == limit)
    room = _tightened(relaxed, kept, noise)
    for name, bound in relaxed.asked():
        limit = getattr(limits, name)
        if name not in kept and bound <= limit * (1.0 + TOLERANCE_RATIO) ** 2:
            room = room.but(name, now.figure(name))
    return room


def _given_up_loosened(limits: Limits, relaxed: Limits) -> Limits:
    """Return limits as they would be were there a little more room for those that give way."""
    for name, limit in limits.asked():
        if name != "metric" and getattr(relaxed, name) != limit:
            limits = limits.but(name, limit * (1.0 + TOLERANCE_RATIO))
    return limits


def _tightened(limits: Limits, names: tuple[Quantity, ...], noise: float) -> Limits:
    """Return limits that leave room to spare, for calls that are a little rarer too."""
    if "latency" in names:
        limits = replace(limits, cold=limits.is_almost_cold)
    for name, limit in limits.asked():
        if name in names:
            tight = limit + noise if name == "metric" else limit * (1.0 - TOLERANCE_RATIO)
            limits = limits.but(name, tight)
    return limits


def _is_nearer(name: Quantity, new: Option, now: Option, noise: float) -> bool:
    """Tell whether an option is clearly nearer to a limit than what runs, which breaks it."""
    there, here = new.figure(name), now.figure(name)
    if isnan(there) or isnan(here):
        return isnan(here)
    if name == "metric":
        return there > here + noise
    return there < here * (1.0 - TOLERANCE_RATIO)
