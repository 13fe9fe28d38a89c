"""Networks in pieces: combinations on offer, their costs predicted and measured, what they buy.

Three networks (handwriting, keywords, clothes) are compiled whole and in pieces, into a library
each. Then combinations drawn at random among those that may run are run and timed as an app would,
on the test part, which nothing was decided by, and held against their prediction; and the front of
whole variants is held against that of the combinations that an app would run for deadlines.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
from in_pieces import MAX_DROP, SUBJECTS, Subject, library_of
from pieces_picture import draw
from rich.console import Console
from rich.table import Table

from adaspring.explore.measure.timing import time_in_turn
from adaspring.frontend.data import Dataset
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.search import Search
from adaspring.library.evolve.space import BETWEEN, Cells, Space
from adaspring.library.evolve.spaces import spaces_of
from adaspring.library.loader import Library
from adaspring.reference.executor import accuracy


@dataclass(frozen=True)
class Extent:
    """How much is done: networks, combinations drawn, seconds of tuning and of timing."""

    subjects: tuple[Subject, ...]
    drawn: int
    tuning_s: float
    seconds: float


FULL = Extent(tuple(SUBJECTS.values()), 200, 300.0, 60.0)
QUICK = Extent((SUBJECTS["digits"],), 20, 0.0, 3.0)
DEADLINES = 20
"""For so many the best combination is looked for."""
HEADINGS = (
    "network", "cells", "combinations", "pieces / whole", "metric bound", "metric within it",
    "latency within its bound",
)  # fmt: skip


def main() -> None:
    """Compile, draw, measure, print, write."""
    parser = report.arguments(__doc__, "one network, untuned, few combinations")
    parser.add_argument("--picture", type=Path, help="draw the fronts here")
    parser.add_argument("--subject", choices=SUBJECTS, action="append", help="these networks alone")
    parser.add_argument("--segments", type=int, default=4)
    parser.add_argument(
        "--libraries", type=Path, help="keep the libraries here, and use those there"
    )
    asked = parser.parse_args()
    extent = QUICK if asked.quick else FULL
    subjects = [SUBJECTS[name] for name in asked.subject or ()] or extent.subjects
    results = [found for subject in subjects if (found := measure(subject, extent, asked))]
    Console(width=140).print(table(results))
    if asked.picture and results:
        draw(results, asked.picture)
    ratios = {
        f"{found['network']} {name}": report.ratio(found[name])
        for found in results
        for name in ("measured_over_predicted_of_dense",)
    }
    settings = {"segments": asked.segments, "max_drop": MAX_DROP, "tuning_s": extent.tuning_s}
    packages = ("adaspring", "apache-tvm", "torch")
    report.write(asked.json, "pieces", packages, settings, results, ratios)


def measure(subject: Subject, extent: Extent, asked: argparse.Namespace) -> dict[str, Any] | None:
    """Everything of one network; None where it stays whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = asked.libraries or Path(name)
        library, test = library_of(subject, folder, asked.segments, extent.tuning_s)
        with library:
            if library.manifest.composition is None:
                print(f"{subject.name} stays whole")
                return None
            return drawn(subject.name, library, test, extent)


def drawn(name: str, library: Library, test: Dataset, extent: Extent) -> dict[str, Any]:
    """Run and time combinations drawn at random and all whole variants; hold them against it."""
    composition = library.manifest.composition
    assert composition is not None, "the library is in pieces"
    _, *spaces = spaces_of(library.manifest).each
    space = spaces[0]
    rows = _allowed(space, extent.drawn)
    names = [space.name(cells) for cells in rows]
    best, wholes = _best(spaces), list(library.variants)
    right, times = _run(library, list({*names, *best, *wholes}), test, extent.seconds)
    p90 = {each: float(np.percentile(found, 90)) for each, found in times.items()}
    p50 = {each: float(np.median(found)) for each, found in times.items()}
    search = Search(space)
    predicted = {space.name(cells): search.found(cells, Goal()) for cells in rows}
    errors = [right[each] - found.metric for each, found in predicted.items()]
    # The machine is in another state than when the library was made: dense ones tell by how much.
    dense = predicted[names[0]].latency_ms / p90[names[0]]
    ratios = [dense * p90[each] / found.latency_ms for each, found in predicted.items()]
    metric, latency = composition.metric, composition.latency
    bound = None if metric is None else metric.fresh_bound or metric.bound
    spread = None if latency is None else latency.bound_ratio
    return {
        "network": name,
        "segments": len(composition.segments),
        "cells": [len(segment.cells) for segment in composition.segments],
        "combinations": space.combinations_count,
        "uncut_ratio": composition.uncut_ratio,
        "drawn": len(rows),
        "metric_bound": bound,
        "metric_errors": errors,
        "metric_within_bound": None if bound is None else float(np.mean(np.abs(errors) <= bound)),
        "latency_bound_ratio": spread,
        "measured_over_predicted_of_dense": ratios,
        "latency_within_bound": None
        if spread is None
        else float(np.mean(np.abs(np.array(ratios) - 1) <= spread)),
        "combinations_measured": [(each, right[each], p50[each]) for each in names],
        "combinations_best": [(each, right[each], p50[each]) for each in best],
        "whole_variants": [(each, right[each], p50[each]) for each in wholes],
    }


def _allowed(space: Space, count: int) -> list[Cells]:
    """The dense combination, and others at random among those that may run."""
    random, search = np.random.default_rng(0), Search(space)
    found: dict[Cells, None] = {_dense(space): None}
    for _ in range(50 * count):
        cells = tuple(int(random.integers(len(each.names))) for each in space.segments)
        metric = search.found(cells, Goal()).metric
        if metric - space.metric_bound >= space.least_metric:
            found[cells] = None
        if len(found) == count:
            break
    return list(found)


def _dense(space: Space) -> Cells:
    """The first cell of each segment; where each combination is a cell, the one of dense ones."""
    if len(space.segments) > 1:
        return (0,) * len(space.segments)
    (segment,) = space.segments
    return (
        next(at for at, name in enumerate(segment.names) if set(name.split(BETWEEN)) == {"dense"}),
    )


def _best(spaces: Sequence[Space]) -> list[str]:
    """What an app would run for one deadline after the other, by what the library says."""
    searches = [(space, Search(space)) for space in spaces]
    least = [search.least("latency", Goal()) for _, search in searches]
    most = [search.best(Goal()) for _, search in searches]
    limits_ms = np.geomspace(
        min(found.latency_ms for found in least if found),
        max(found.latency_ms for found in most if found),
        DEADLINES,
    )
    names: dict[str, None] = {}
    for limit_ms in (1 + 1e-9) * limits_ms:
        goal = Goal(latency_limit_ms=float(limit_ms))
        found = [(space, search.best(goal)) for space, search in searches]
        best = max((each.metric, space.name(each.cells)) for space, each in found if each)
        names[best[1]] = None
    return list(names)


def _run(
    library: Library, names: Sequence[str], test: Dataset, seconds: float
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The share of right answers of each, and its times in turn with the others."""
    nets = {name: library.open(name, preload=False) for name in names}
    right = {}
    for name, net in nets.items():
        outputs = np.concatenate([net(sample[None]) for sample in test.inputs[0]])
        right[name] = accuracy(outputs, test.labels)
    times = time_in_turn(nets, [test.inputs[0][:1]], seconds)
    return right, times


def table(results: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each network."""
    made = Table(title="networks in pieces")
    for heading in HEADINGS:
        made.add_column(heading, justify="left" if heading == "network" else "right")
    for found in results:
        within = (found["metric_within_bound"], found["latency_within_bound"])
        made.add_row(
            found["network"],
            "x".join(map(str, found["cells"])),
            str(found["combinations"]),
            f"{found['uncut_ratio']:.3f}",
            "-" if found["metric_bound"] is None else f"{100 * found['metric_bound']:.1f} points",
            *("-" if share is None else f"{100 * share:.0f} %" for share in within),
        )
    return made


if __name__ == "__main__":
    main()
