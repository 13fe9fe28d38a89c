"""Which constraints give way where nothing meets them all, and whether to leave what runs now."""

from __future__ import annotations

from math import isnan, nan
from typing import Protocol

from ..evolve.search import Quantity
from .limits import CONSTRAINTS, TOLERANCE_RATIO, Limits, is_met
from .options import Option, Options


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


def _settle_relaxed(
    options: Options, judge: Judge, limits: Limits, now: Option | None
) -> tuple[Option, str]:
    """Settle where nothing meets every limit."""
    relaxed, nearest = relax(options, limits, judge.noise)
    best = judge.pick(relaxed) or nearest
    assert best is not None, "a space has something that may run"
    if now is None:
        return best, ""
    if not relaxed.broken_by(now):
        return _improve(judge, _room(limits, relaxed, judge.noise, now), now)
    nearly, _ = relax(options, _given_up_loosened(limits, relaxed), judge.noise)
    if not nearly.broken_by(now) or _leave(options, judge, nearly, now, best)[0].is_same(now):
        return now, "stays: what gives way is missed by little"
    return _leave(options, judge, relaxed, now, best)


def relax(options: Options, limits: Limits, noise: float) -> tuple[Limits, Option | None]:
    """Give up limits, the lightest first, until something meets those left; return it too.

    What is given up is bound anew, the gravest first: within the tolerance of what comes nearest
    to it, since of what is nearly as near another may be far better otherwise. The metric's
    tolerance is its noise.
    """
    kept, nearest = Limits(cold=limits.cold, stretch=limits.stretch), None
    given_up = []
    for name, limit in reversed(limits.asked()):
        nearest = options.least(name, kept.goal())
        if nearest is not None and is_met(name, limit, nearest.figure(name)):
            kept = kept.but(name, limit)
        else:
            given_up.append(name)
    for name in given_up:
        nearest = options.least(name, kept.goal())
        figure = nan if nearest is None else nearest.figure(name)
        kept = kept if isnan(figure) else kept.but(name, _loosened(name, figure, noise))
    return kept, nearest


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
    if room == limits:
        return best, ""
    there = judge.pick(room)
    if there is not None:
        return there, ""
    less, _ = relax(options, room, judge.noise)
    has_room = all(getattr(less, name) == getattr(room, name) for name in graver)
    there = judge.pick(less) if has_room else None
    if there is not None and _is_nearer(gravest, there, now, judge.noise):
        return there, ""
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
    for name, limit in limits.asked():
        bound = getattr(relaxed, name)
        if name not in kept and bound is not None and _is_close(name, limit, bound):
            room = room.but(name, now.figure(name))
    return room


def _given_up_loosened(limits: Limits, relaxed: Limits) -> Limits:
    """Return limits as they would be were there a little more room for those that give way."""
    for name, limit in limits.asked():
        if name != "metric" and getattr(relaxed, name) != limit:
            limits = limits.but(name, limit * (1.0 + TOLERANCE_RATIO))
    return limits


def _tightened(limits: Limits, names: tuple[Quantity, ...], noise: float) -> Limits:
    """Return limits that leave room to spare."""
    for name, limit in limits.asked():
        if name in names:
            tight = limit + noise if name == "metric" else limit * (1.0 - TOLERANCE_RATIO)
            limits = limits.but(name, tight)
    return limits


def _loosened(name: Quantity, figure: float, noise: float) -> float:
    return figure - noise if name == "metric" else figure * (1.0 + TOLERANCE_RATIO)


def _is_nearer(name: Quantity, new: Option, now: Option, noise: float) -> bool:
    """Tell whether an option is clearly nearer to a limit than what runs, which breaks it."""
    there, here = new.figure(name), now.figure(name)
    if isnan(there) or isnan(here):
        return isnan(here)
    if name == "metric":
        return there > here + noise
    return there < here * (1.0 - TOLERANCE_RATIO)


def _is_close(name: Quantity, limit: float, loosened: float) -> bool:
    """Tell whether what comes nearest to a limit is within the tolerance of it."""
    return name != "metric" and loosened <= limit * (1.0 + TOLERANCE_RATIO) ** 2
