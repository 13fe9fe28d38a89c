"""A day of contexts: a network that adapts against every fixed one. `python benchmarks/day.py`.

A network for handwriting, in pieces. A seeded day of ten-minute moments: the app's deadline, the
battery, and what else the machine does: nothing, another process on one core (load), on every core
(a clock as slow as heat makes it). In each moment everything calls for as long, one after the other
and once more in the opposite order, while those processes run: nets that adapt, each whole variant,
and the best combinations, fixed. The battery is played; load is read by the sensors, and times are
those that calls took. Energy is modelled, for five calls a second.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import report
from day_picture import draw
from in_pieces import SUBJECTS, library_of
from live_costs import busy_process
from pieces_picture import front
from rich.console import Console
from rich.table import Table

import adaspring
from adaspring.frontend.data import Dataset
from adaspring.library.evolve.spaces import spaces_of
from adaspring.library.loader import Library
from adaspring.library.net import Net
from adaspring.library.policies import Balanced, Deadline

Busy = Literal["nothing", "one core", "every core"]
SETTLE_S, BURST_S, CALLS = 0.3, 0.1, 25
"""How long the load is read before a moment; how long each calls, twice; the calls, each of another
sample, after which a net that adapts does so again."""
CALLS_PER_MOMENT = 5 * 600
MOST_FIXED_COMBINATIONS = 6


@dataclass(frozen=True)
class Moment:
    """Ten minutes. `deadline_ratio` is of the dense network's recorded p90."""

    battery_ratio: float
    deadline_ratio: float
    busy: Busy


def day(seed: int, moments: int, fastest_ratio: float) -> Iterator[Moment]:
    """Moments from full to nearly empty; an activity lasts half an hour to three hours.

    `fastest_ratio` is what the fastest of all takes of the dense network's time: deadlines lie
    between a little above it and three times the dense network's.
    """
    random = np.random.default_rng(seed)
    left, deadline, busy = 0, 1.0, "nothing"
    for moment in range(moments):
        if left == 0:
            left = int(random.integers(3, 19))
            deadline = float(np.exp(random.uniform(np.log(1.3 * fastest_ratio), np.log(3.0))))
            busy = str(random.choice(["nothing", "one core", "every core"], p=[0.5, 0.3, 0.2]))
        left -= 1
        yield Moment(1 - 0.97 * moment / moments, deadline, busy)  # type: ignore[arg-type]


@dataclass
class Contender:
    """A net and what it did: of each call in each moment the ms, whether it was right, its mJ."""

    name: str
    net: Net
    energy_mj: float | None = None
    ms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    right: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    spent_mj: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    ran: list[str] = field(default_factory=list)

    @property
    def adapts(self) -> bool:
        """Whether it is one of those that adapt."""
        return self.energy_mj is None

    def live(self, moment: int, context: adaspring.Context, samples: Dataset) -> None:
        """Call for a while, after each so many calls adapt, if it does."""
        end_s = time.perf_counter() + BURST_S
        while time.perf_counter() < end_s:
            energy_mj = self.energy_mj
            if energy_mj is None:
                energy_mj = self.net.adapt(context).predicted.energy_mj
                self.ran.append(self.net.variant)
            for x, label in zip(samples.inputs[0], samples.labels, strict=True):
                start_s = time.perf_counter()
                scores = self.net(x[None])
                self.ms[moment].append(1e3 * (time.perf_counter() - start_s))
                self.right[moment].append(scores.argmax() == label)
                self.spent_mj[moment].append(energy_mj)

    def p90_ms(self) -> np.ndarray:
        """Of the calls of each moment."""
        return np.array([np.percentile(each, 90) for each in self.ms.values()])


def contenders(library: Library) -> list[Contender]:
    """Two policies that adapt, each whole variant, and combinations on the measured front."""
    found = [
        Contender("adapts, Deadline", library.open(policy=Deadline())),
        Contender("adapts, Balanced", library.open(policy=Balanced())),
    ]
    wholes, *composed = [each.segments[0] for each in spaces_of(library.manifest).each
                         if len(each.segments) == 1]  # fmt: skip
    names = list(wholes.names)
    energy_mj = dict(zip(wholes.names, wholes.energy_mj.tolist(), strict=True))
    for measured in composed:
        energy_mj |= zip(measured.names, measured.energy_mj.tolist(), strict=True)
        points = zip(measured.names, measured.metric, measured.latency_ms, strict=True)
        edge = [name for name, _, _ in front(list(points))]
        names += [edge[at] for at in spread(len(edge), MOST_FIXED_COMBINATIONS)]
    return found + [Contender(name, library.open(name), energy_mj[name]) for name in names]


def spread(count: int, most: int) -> list[int]:
    """So many numbers below `count`, first and last among them, as far apart as can be."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


@contextmanager
def neighbours() -> Iterator[Callable[[Busy], None]]:
    """Give what makes this process's cores busy or free; the processes are stopped, not ended."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(busy_process(cpu)) for cpu in sorted(os.sched_getaffinity(0))
        ]

        def make(busy: Busy) -> None:
            wanted = {"nothing": 0, "one core": 1, "every core": len(started)}[busy]
            for number, process in enumerate(started):
                process.send_signal(signal.SIGCONT if number < wanted else signal.SIGSTOP)

        yield make


def live(
    library: Library, test: Dataset, seed: int, moments: int
) -> tuple[list[Moment], np.ndarray, list[Contender]]:
    """The moments, the deadline of each in ms, and what everything did."""
    present = contenders(library)
    dense_ms = recorded_ms(library, library.manifest.plainest)
    fastest = min(recorded_ms(library, each.name) for each in library.manifest.variants)
    played = list(day(seed, moments, fastest / dense_ms))
    random, sensors = np.random.default_rng(seed), adaspring.Sensors()
    with neighbours() as make:
        for number, moment in enumerate(played):
            make(moment.busy)
            sensors.read()  # the load is that since the reading before
            time.sleep(SETTLE_S)
            samples = test.take(random.choice(len(test.targets), CALLS, replace=False))
            context = adaspring.Context.now(
                sensors=sensors,
                battery_ratio=moment.battery_ratio,
                latency_budget_ms=moment.deadline_ratio * dense_ms,
                memory_budget_bytes=None,
            )
            turn = number % len(present)  # nobody is always first after the pause
            order = (*present[turn:], *present[:turn])
            for contender in (*order, *reversed(order)):
                contender.live(number, context, samples)
    return played, np.array([each.deadline_ratio * dense_ms for each in played]), present


def recorded_ms(library: Library, variant: str) -> float:
    """The p90 in the manifest."""
    figure = library.manifest.variant(variant).cost.latency_p90_ms
    assert figure is not None, "this machine's latencies are measured"
    return figure.value


def row(contender: Contender, deadlines_ms: np.ndarray, could_ms: np.ndarray) -> dict[str, Any]:
    """The figures of the day; `could_ms` is the least p90 that any had in each moment."""
    can_be_met = could_ms <= deadlines_ms
    met = contender.p90_ms() <= deadlines_ms
    late = [
        np.mean(np.array(ms) > deadline_ms)
        for ms, deadline_ms in zip(contender.ms.values(), deadlines_ms, strict=True)
    ]
    return {
        "name": contender.name,
        "adapts": contender.adapts,
        "late_calls_ratio": float(np.mean(late)),
        "met_of_possible_ratio": float(met[can_be_met].mean()),
        "possible_moments": int(can_be_met.sum()),
        "accuracy_ratio": _mean(contender.right),
        "energy_mj": CALLS_PER_MOMENT * len(deadlines_ms) * _mean(contender.spent_mj),
        "switches": sum(a != b for a, b in pairwise(contender.ran)),
        "variants": len(set(contender.ran)),
    }


def _mean(of_moments: Mapping[int, Sequence[float]]) -> float:
    """Each moment counts as much, however many calls it had."""
    return float(np.mean([np.mean(each) for each in of_moments.values()]))


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each."""
    made = Table(title="a day of contexts, each calls in every moment")
    made.add_column("network")
    for heading in ("late calls", "deadlines met, of those that could be", "accuracy", "energy",
                    "switches"):  # fmt: skip
        made.add_column(heading, justify="right")
    for found in rows:
        made.add_row(
            found["name"],
            f"{100 * found['late_calls_ratio']:.1f} %",
            f"{100 * found['met_of_possible_ratio']:.1f} % of {found['possible_moments']}",
            f"{100 * found['accuracy_ratio']:.1f} %",
            f"{1e-3 * found['energy_mj']:.0f} J",
            str(found["switches"]),
        )
    return made


def main() -> None:
    """Live the day, print a table, draw, write JSON."""
    parser = report.arguments(__doc__, "an hour of the day, untuned: two minutes")
    parser.add_argument("--subject", choices=SUBJECTS, default="digits")
    parser.add_argument("--picture", type=Path, help="draw the day here")
    parser.add_argument("--segments", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--libraries", type=Path, help="keep the library here, and use that there")
    asked = parser.parse_args()
    moments, tuning_s = (12, 0.0) if asked.quick else (144, 300.0)
    with TemporaryDirectory() as name:
        folder = asked.libraries or Path(name)
        library, test = library_of(SUBJECTS[asked.subject], folder, asked.segments, tuning_s)
        with library:
            played, deadlines_ms, present = live(library, test, asked.seed, moments)
    could_ms = np.min([each.p90_ms() for each in present], axis=0)
    rows = [row(each, deadlines_ms, could_ms) for each in present]
    Console(width=140).print(table(rows))
    if asked.picture:
        draw(played, deadlines_ms, present, rows, asked.picture)
    settings = {
        "subject": asked.subject,
        "seed": asked.seed,
        "moments": moments,
        "burst_s": BURST_S,
    }
    packages = ("adaspring", "apache-tvm-ffi", "numpy")
    report.write(asked.json, "day", packages, settings, rows, {})


if __name__ == "__main__":
    main()
