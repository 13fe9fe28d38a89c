"""A day in the life of an app: the context changes, the network follows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ...library.context import Context
from ...library.loader import Library
from ...library.manifest import Figure, MetricFigure
from ...library.net import Net, Switch


@dataclass(frozen=True)
class Moment:
    """One hour's context; deadline and memory are multiples of what the dense network takes.

    `accuracy_drop` is how much less accurate than the dense network an answer may be; None: as much
    as the library allows.
    """

    hour: str
    what: str
    battery_ratio: float
    deadline_ratio: float
    memory_ratio: float
    accuracy_drop: float | None = None


DAY: tuple[Moment, ...] = (
    # battery, deadline and memory; how much accuracy may be given up
    Moment("07:00", "no hurry", 1.0, 4.0, 2.0),
    Moment("10:00", "camera on", 0.8, 0.3, 2.0),
    Moment("12:00", "a cheque", 0.7, 2.0, 2.0, accuracy_drop=0.0),
    Moment("13:00", "two apps", 0.6, 1.2, 2.0),
    Moment("16:00", "memory short", 0.4, 1.2, 0.42, accuracy_drop=0.02),
    Moment("19:00", "battery saver", 0.2, 0.8, 0.8),
    Moment("21:00", "a cheque again", 0.15, 2.0, 2.0, accuracy_drop=0.0),
    Moment("22:00", "last 5 %", 0.05, 0.3, 0.5),
)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What happened at one moment, measured as it happened."""

    moment: Moment
    context: Context
    switch: Switch
    accuracy_ratio: float
    latency_p50_ms: float


def live(library: Library, images: np.ndarray, labels: np.ndarray) -> tuple[Lived, ...]:
    """Play the day on one opened net; every moment runs all images (n, 1, c, h, w) once."""
    dense = library.manifest.variant(library.manifest.plainest).cost
    net = library.open()
    _answers(net, images)  # warm caches, as a running app's are
    lived = []
    for moment in DAY:
        context = Context(
            battery_ratio=moment.battery_ratio,
            latency_budget_ms=_times(moment.deadline_ratio, dense.latency_p50_ms),
            memory_budget_bytes=_whole(_times(moment.memory_ratio, dense.peak_memory_bytes)),
            metric_floor=_floor(dense.metric, moment.accuracy_drop),
        )
        switch = net.adapt(context)
        answers, seconds = _answers(net, images)
        lived.append(
            Lived(
                moment=moment,
                context=context,
                switch=switch,
                accuracy_ratio=float(np.mean(answers == labels)),
                latency_p50_ms=1e3 * float(np.median(seconds)),
            )
        )
    return tuple(lived)


def _answers(net: Net, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of each image, and the seconds that each call took."""
    classes, seconds = [], []
    for image in images:
        start = time.perf_counter()
        scores = net(image)
        seconds.append(time.perf_counter() - start)
        assert isinstance(scores, np.ndarray)
        classes.append(int(scores.argmax()))
    return np.array(classes), np.array(seconds)


def _times(ratio: float, figure: Figure | None) -> float | None:
    return None if figure is None else ratio * figure.value


def _floor(dense: MetricFigure | None, drop: float | None) -> float | None:
    return None if dense is None or drop is None else max(0.0, dense.value - drop)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
