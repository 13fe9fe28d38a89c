"""A day in the life of an app: the context changes, the network follows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ...library.context import Context
from ...library.loader import Library
from ...library.manifest import Figure
from ...library.net import Net, Switch


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One hour's context; deadline and memory are multiples of what the dense network takes.

    `wants_dense_accuracy`: nothing less accurate than the dense network will do.
    """

    hour: str
    battery_ratio: float
    deadline_ratio: float
    memory_ratio: float
    what: str
    wants_dense_accuracy: bool = False


DAY: tuple[Moment, ...] = (
    Moment(hour="07:00", battery_ratio=1.0, deadline_ratio=4.0, memory_ratio=2.0, what="no hurry"),
    Moment(hour="10:00", battery_ratio=0.8, deadline_ratio=1.5, memory_ratio=2.0, what="camera on"),
    Moment(
        hour="12:00",
        battery_ratio=0.7,
        deadline_ratio=1.5,
        memory_ratio=2.0,
        what="a cheque",
        wants_dense_accuracy=True,
    ),
    Moment(hour="13:00", battery_ratio=0.6, deadline_ratio=0.9, memory_ratio=2.0, what="two apps"),
    Moment(
        hour="16:00", battery_ratio=0.4, deadline_ratio=0.9, memory_ratio=0.8, what="memory short"
    ),
    Moment(
        hour="19:00", battery_ratio=0.2, deadline_ratio=0.6, memory_ratio=0.8, what="battery saver"
    ),
    Moment(hour="22:00", battery_ratio=0.05, deadline_ratio=0.5, memory_ratio=0.5, what="last 5 %"),
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
            latency_budget_ms=_times(moment.deadline_ratio, dense.latency_p90_ms),
            memory_budget_bytes=_whole(_times(moment.memory_ratio, dense.peak_memory_bytes)),
            metric_floor=(
                dense.metric.value if moment.wants_dense_accuracy and dense.metric else None
            ),
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


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
