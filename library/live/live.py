"""Keeps what each call took, and learns from it when it is asked.

A call leaves three numbers in a ring, without a lock; whoever asks what was learnt takes them from
there, and is alone in that (the net's turn of switching sees to it). A ring forgets its oldest
calls; what changed long before somebody asks is no news.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import exp, log
from time import perf_counter

import numpy as np

from ..policies.limits import HOT_CALLS_PER_S
from .ratios import OWN, Floats, Ratios
from .recorded import Recorded

COLD_S = 1 / HOT_CALLS_PER_S
"""From how long a pause on a call is cold. The recorded cold calls are 50 ms apart, but threads
sleep and caches are others' long before: what lies between is nearer to them than to a row."""

_RING, _SHOWN = 64, 256
_LEAST_CALLS = 8  # of one median
_MOST_COMBINATIONS = 256
_LEAST_S = 1e-12  # for a clock that did not move


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What recorded latencies are to be multiplied by, at one pace.

    `common_ratio` holds for all, of the 90th percentile; `own_ratios` by name, 1 where nothing is
    known of a name.
    """

    common_ratio: float
    own_ratios: Mapping[str, float]

    @property
    def faster_ratio(self) -> float:
        """What is common where all are faster than recorded, else 1."""
        return min(self.common_ratio, 1.0)


@dataclass(frozen=True)
class _Baseline:
    """What calls are compared with: the recorded sum over a combination's names, their shares."""

    p50_s: float
    p90_over_p50: float
    shares: Floats


class Track:
    """The calls of one variant, or of one combination of cells."""

    def __init__(
        self, names: tuple[str, ...], places: Sequence[int], recorded: Sequence[Recorded]
    ) -> None:
        self.names = names
        self.places = np.array(places)
        self.baselines = [_baseline(recorded, cold) for cold in (False, True)]
        # number, end, seconds taken, seconds since the call before
        self.calls: deque[tuple[int, float, float, float]] = deque(maxlen=_RING)
        self.numbers = count(1)
        self.calls_count, self.last_s = 0, 0.0
        self.waiting: tuple[list[float], list[float]] = ([], [])
        self.shown_s: tuple[deque[float], deque[float]] = deque(maxlen=_SHOWN), deque(maxlen=_SHOWN)


def _baseline(recorded: Sequence[Recorded], cold: bool) -> _Baseline | None:
    pairs = [each.at(cold) for each in recorded]
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        return None
    p50, p90 = np.array(known).T
    total = float(p50.sum())
    return _Baseline(1e-3 * total, float(p90.sum()) / total, p50 / total)


class Live:
    """What was learnt of the names of `recorded`, from calls of one or of several at a time."""

    def __init__(
        self, recorded: Mapping[str, Recorded], clock: Callable[[], float] = perf_counter
    ) -> None:
        self.recorded = dict(recorded)
        self.clock = clock
        self.names = tuple(recorded)
        self._places = {name: place for place, name in enumerate(self.names)}
        self.ratios = (Ratios(len(self.names)), Ratios(len(self.names)))  # hot, cold
        self.tracks: dict[Hashable, Track] = {}
        self._last_s = -np.inf
        self.changes_count = 0

    def track(self, names: tuple[str, ...], key: Hashable = None) -> Track:
        """Return where calls of these names go, which is `tracks[key]` from then on.

        Calls of unknown names are counted, no more. Of combinations only so many are kept, those
        that began to be used last.
        """
        key = names if key is None else key
        track = self.tracks.get(key)
        if track is None:
            combinations = [each for each, kept in list(self.tracks.items()) if len(kept.names) > 1]
            if len(combinations) >= _MOST_COMBINATIONS:
                self.tracks.pop(combinations[0], None)
            track = self.tracks.setdefault(key, self.new_track(names))
        return track

    def new_track(self, names: tuple[str, ...]) -> Track:
        """Make a track that nothing goes to."""
        places = [self._places.get(name, -1) for name in names]
        return Track(names, places, [self.recorded.get(name, Recorded()) for name in names])

    def note(self, track: Track, start_s: float) -> float:
        """Keep a call that began at `start_s` and ends now; return its seconds. From any thread."""
        end_s = self.clock()
        elapsed_s = end_s - start_s
        track.calls.append((next(track.numbers), end_s, elapsed_s, start_s - self._last_s))
        self._last_s = end_s
        return elapsed_s

    def learn(self) -> None:
        """Take in the calls since the last time, and let grow old what was learnt before."""
        for track in tuple(self.tracks.values()):
            if track.calls:
                self._take(track)
        now_s = self.clock()
        for ratios in self.ratios:
            self.changes_count += ratios.fade(now_s)

    def expect(self, stretch: float) -> None:
        """Take in what other work is said to stretch calls by, 1 for not at all."""
        for ratios in self.ratios:
            ratios.expect(stretch)

    def factors(self, cold: bool) -> Factors:
        """What is believed now; of a pace that was never called, what the other one tells."""
        own = np.exp(self._ratios(cold).mean[OWN:]).tolist()
        return Factors(
            common_ratio=self.common_ratio(cold),
            own_ratios=dict(zip(self.names, own, strict=True)),
        )

    def common_ratio(self, cold: bool) -> float:
        """Return that of the factors alone, in less time."""
        return _common(self._ratios(cold))

    def logs(self, cold: bool) -> Floats:
        """The logarithms of each name's own ratio, and of `Factors.faster_ratio`."""
        ratios = self._ratios(cold)
        return np.append(ratios.mean[OWN:], log(min(_common(ratios), 1.0)))

    def _ratios(self, cold: bool) -> Ratios:
        ratios = self.ratios[cold]
        return self.ratios[not cold] if ratios.is_new else ratios

    def _take(self, track: Track) -> None:
        taken = [track.calls.popleft() for _ in range(len(track.calls))]
        track.calls_count, track.last_s = max(taken)[0], taken[-1][1]
        for cold, waiting in enumerate(track.waiting):
            times_s = [call[2] for call in taken if (call[3] >= COLD_S) == cold]
            track.shown_s[cold].extend(times_s)
            waiting += times_s
            if len(waiting) >= _LEAST_CALLS:
                self._add(track, bool(cold), waiting)
                waiting.clear()

    def _add(self, track: Track, cold: bool, times_s: Sequence[float]) -> None:
        """Tell the filter; older and newer calls apart where there are enough for both."""
        baseline = track.baselines[cold]
        if baseline is None:
            return
        half = len(times_s) // 2 if len(times_s) >= 2 * _LEAST_CALLS else 0
        for part in filter(None, (times_s[:half], times_s[half:])):
            measured = [(time_s + _LEAST_S) / baseline.p50_s for time_s in part]
            ratio = baseline.p90_over_p50
            self.changes_count += 1
            self.ratios[cold].add(track.places, baseline.shares, measured, ratio, track.last_s)


def _common(ratios: Ratios) -> float:
    """What all calls take, of the 90th percentile.

    A tail that is shorter than recorded tells of a noisy recording of one name, not of the others.
    """
    return max(exp(ratios.common) * max(ratios.tail, 1.0), ratios.recent)
