"""By how much calls take longer than recorded: what all share, and what each name has of its own.

The logarithm of measured over recorded is a sum: `machine` (this machine beside the one that the
library was measured on), `moment` (throttling, other work), and one `own` of each variant or cell,
weighted by its share of the recorded time. One call cannot tell which of them moved; their
deviations say which is likelier, and calls of another variant decide. That is a Kalman filter, over
medians of calls, so that single late ones (page faults, preemption, a first call) count for little.

A median that is far from what was expected is left out; a second one in the same direction is a
step: then its likely cause is made uncertain, and takes up the difference. A variant that has run
as expected before is the less likely cause: other work comes and goes. Where it is at fault all the
same, it is found out when it has been slow beside others two or three times.

Source  Kalman, Journal of Basic Engineering 82(1), 1960; means fade as in Uhlenbeck and Ornstein,
        Physical Review 36, 1930
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

MACHINE, MOMENT, OWN = 0, 1, 2
"""Where the state has what all share; each name's own follow from OWN on."""

# Standard deviations of logarithms, before anything was measured.
_SHARED_DEVIATION, _OWN_DEVIATION = 0.3, 0.05
_MOST_OWN_DEVIATION = 0.15
# After so long without a call, what was learnt is worth 1 / e of what it was.
_MOMENT_FADES_S, FADES_S = 600.0, 7 * 86400.0
_STEP_S = 1.0
# How far a median errs beyond what the spread of its calls says, and how far the moment wanders
# from one to the next.
_FLOOR_DEVIATION, _WANDER_DEVIATION = 0.02, 0.003
_LEAST_SPREAD, _FIRST_SPREAD, _MOST_SPREAD = 0.02, 0.15, 0.5
_NORMAL_QUARTILES = 1.349  # of a normal distribution, from quartile to quartile in deviations
_MEDIAN_VARIANCE = 1.571  # pi / 2: of the median of n values over that of their mean
_FAR = 3.0  # deviations
# Calls after which a name is no longer new, and all others together are known.
_SETTLED_COUNT, _KNOWN_COUNT = 32, 48
_TAIL_CALLS, _TAIL_WEIGHT, _TAIL_RANGE = 256, 32, (0.5, 8.0)
# Other work takes turns of milliseconds: so long, and with so many calls, it shows as it is.
_RECENT_S, _RECENT_CALLS = 0.03, (64, 256)


class Ratios:
    """The filter of one pace of calls, hot or cold; time is any clock's in seconds."""

    def __init__(self, count: int) -> None:
        size = OWN + count
        self._variance = np.full(size, _OWN_DEVIATION**2)
        self._variance[:OWN] = _SHARED_DEVIATION**2
        self._fades_s = np.full(size, FADES_S)
        self._fades_s[MOMENT] = _MOMENT_FADES_S
        self.mean, self.covariance = np.zeros(size), np.diag(self._variance)
        self.calls_count = np.zeros(count, np.int64)
        self._expected_moment = 0.0
        self._spread = _FIRST_SPREAD
        self._beyond: deque[float] = deque(maxlen=_TAIL_CALLS)
        self._tail: float | None = 1.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT_CALLS[1])
        self._recent_ratio: float | None = 0.0
        self._suspect = 0.0
        self._when_s: float | None = None

    @property
    def is_new(self) -> bool:
        """Whether no call was ever measured, nor loaded."""
        return not self.calls_count.any()

    @property
    def common(self) -> float:
        """The logarithm of what all take longer by."""
        return float(self.mean[MACHINE] + self.mean[MOMENT])

    @property
    def tail(self) -> float:
        """By how much the 90th percentile is farther from the median than recorded, as a ratio.

        A standard error less, and with few calls nearer to 1.
        """
        if self._tail is None:
            found, count = _percentile_90(self._beyond), len(self._beyond)
            least, most = _TAIL_RANGE
            self._tail = min(max(found ** (count / (count + _TAIL_WEIGHT)), least), most)
        return self._tail

    @property
    def recent(self) -> float:
        """The 90th percentile of the last 30 ms over the recorded one; 0 of few calls.

        The median follows other work from turn to turn; where many calls fit into one turn, a call
        is late in the next. Without the names' own ratios, as `common`; a standard error less.
        """
        if self._recent_ratio is None:
            last_s = self._recent[-1][0]
            values = [value for end_s, value in self._recent if end_s >= last_s - _RECENT_S]
            self._recent_ratio = _percentile_90(values) if len(values) >= _RECENT_CALLS[0] else 0.0
        return self._recent_ratio

    def expect(self, stretch: float) -> None:
        """Take in what the app or a sensor says that other work stretches calls by.

        Where calls were measured, they may or may not show it already: half of a change is
        believed until the next calls tell.
        """
        change = log(stretch) - self._expected_moment
        if change == 0.0:
            return
        self._expected_moment += change
        variance = self.covariance[:OWN, :OWN].sum() / self._variance[:OWN].sum()
        known = 0.0 if self._when_s is None else max(0.0, 1.0 - float(variance))
        self.mean[MOMENT] += change * (1.0 - known / 2)
        self.covariance[MOMENT, MOMENT] += known * (change / 2) ** 2

    def believe(self, index: int, mean: float, deviation: float) -> None:
        """Begin with what is known from before; no deviation is above that of knowing nothing."""
        self.mean[index] = mean
        self.covariance[index, index] = min(deviation**2, self._variance[index])

    def fade(self, now_s: float) -> bool:
        """Let what was learnt grow old; return whether it did: it goes by the second."""
        if self._when_s is None:
            self._when_s = now_s
        passed_s = now_s - self._when_s
        if passed_s < _STEP_S:
            return False
        self._when_s = now_s
        self.age(passed_s)
        return True

    def age(self, passed_s: float) -> None:
        """Let means go back to what is expected, and deviations grow."""
        self._recent.clear()
        self._recent_ratio = 0.0
        kept = np.exp(-passed_s / self._fades_s)
        self.mean[MOMENT] -= self._expected_moment
        self.mean *= kept
        self.mean[MOMENT] += self._expected_moment
        self.covariance *= np.multiply.outer(kept, kept)
        self.covariance.flat[:: self.mean.size + 1] += self._variance * (1.0 - kept**2)

    def add(
        self,
        places: Places,
        shares: Floats,
        measured: Sequence[float],
        p90_over_p50: float,
        now_s: float,
    ) -> None:
        """Take in some calls of one combination of names.

        Args:
            places: which names the calls ran, by number.
            shares: each name's share of the recorded time; their sum is 1.
            measured: each call's time over the recorded median, above 0.
            p90_over_p50: the recorded 90th percentile over the recorded median.
            now_s: when the last one ended.

        """
        values = sorted(measured)
        count = len(values)
        middle = values[(count - 1) // 2]
        usual = middle * p90_over_p50
        self._beyond.extend([value / usual for value in values])
        self._tail = None
        spread = log(values[3 * count // 4] / values[count // 4]) / _NORMAL_QUARTILES
        self._spread += 0.1 * (min(max(spread, _LEAST_SPREAD), _MOST_SPREAD) - self._spread)
        noise = _MEDIAN_VARIANCE * self._spread**2 / count + _FLOOR_DEVIATION**2
        self.fade(now_s)
        self._correct(log(middle), places, shares, noise)
        expected = exp(float(shares @ self.mean[places + OWN])) * p90_over_p50
        self._recent.extend([(now_s, value / expected) for value in measured])
        self._recent_ratio = None
        self.calls_count[places] += count

    def _correct(self, middle: float, places: Places, shares: Floats, noise: float) -> None:
        owned = places + OWN
        self.covariance[MOMENT, MOMENT] += _WANDER_DEVIATION**2
        weights = np.zeros_like(self.mean)
        weights[:OWN], weights[owned] = 1.0, shares
        surprise = middle - float(weights @ self.mean)
        gain = self.covariance @ weights
        variance = float(weights @ gain) + noise
        if abs(surprise) <= _FAR * sqrt(variance):
            self._suspect = 0.0
        elif surprise * self._suspect > 0.0:
            self._suspect = 0.0
            self._widen(surprise, places, shares)
            gain = self.covariance @ weights
            variance = float(weights @ gain) + noise
        else:
            self._suspect = surprise
            return
        self._take(gain, surprise, variance)
        for place in owned:
            self._restrain(place)

    def _take(self, gain: Floats, surprise: float, variance: float) -> None:
        self.mean += gain * (surprise / variance)
        self.covariance -= np.multiply.outer(gain, gain / variance)

    def _restrain(self, place: int) -> None:
        """Lead a name's own back where steps of all alike have made it uncertain.

        It counts as seen at 0, as surely as leaves it no more than the most deviation.
        """
        variance, most = self.covariance[place, place], _MOST_OWN_DEVIATION**2
        if variance > most:
            noise = most * variance / (variance - most)
            self._take(self.covariance[place].copy(), -self.mean[place], variance + noise)

    def _widen(self, surprise: float, places: Places, shares: Floats) -> None:
        """Make the causes of a step uncertain: of names that are new beside known ones, their own.

        Else it is likelier that what all share has changed; also where such a name is faster than
        was expected: other work ends, but figures are seldom too high for one variant alone.
        """
        others = self.calls_count.sum() - self.calls_count[places].sum()
        is_new = others >= _KNOWN_COUNT and self.calls_count[places].min() < _SETTLED_COUNT
        shared = 0.05 if is_new and surprise > 0.0 else 0.95
        variance = surprise**2
        owned = places + OWN
        self.covariance[MOMENT, MOMENT] += shared * variance
        self.covariance[owned, owned] += (1.0 - shared) * variance / float(shares @ shares)


def _percentile_90(values: Collection[float]) -> float:
    """That of all calls such as these, less a standard error."""
    count = len(values)
    return sorted(values)[int(0.9 * count - 0.3 * sqrt(count))]
