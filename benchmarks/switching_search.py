"""The search for the best combination of cells: time, distance from the optimum, limits kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from exact_optimum import optimum
from switching_spaces import seeded_goals, seeded_space, worth_spread

from adaspring.library.evolve.figures import Figures
from adaspring.library.evolve.found import Found
from adaspring.library.evolve.goal import Goal
from adaspring.library.evolve.runtime3c import Runtime3C
from adaspring.library.evolve.search import Method, Search, exact
from adaspring.library.evolve.space import Space

SIZES = ((20, 8), (8, 6), (1, 10))
METHODS: Mapping[str, Callable[[Figures], Method]] = {"exact": exact, "Runtime3C": Runtime3C}
SPACES, GOALS, QUICK_GOALS = 20, 50, 5
NEAR_RATIO = 0.02
ROUNDING_RATIO = 1e-6


@dataclass(frozen=True)
class Context:
    """A goal in a space, and the worth of the true optimum, None where nothing fits."""

    space: Space
    goal: Goal
    best: float | None


@dataclass(frozen=True)
class Answer:
    """What a search found for a context, and its time by the clock and of the processor."""

    found: Found | None
    clock_us: float
    processor_us: float


def rows(quick: bool) -> Iterator[Mapping[str, object]]:
    """A row for each size of space and each method."""
    for segments, cells in SIZES:
        groups = [
            contexts(seed, segments, cells, QUICK_GOALS if quick else GOALS)
            for seed in range(SPACES)
        ]
        asked = [context for group in groups for context in group]
        for name, method in METHODS.items():
            begin, searches = time.perf_counter(), []
            for group in groups:
                searches.append(Search(group[0].space, method))
            prepare_ms = 1e3 * (time.perf_counter() - begin) / len(groups)
            answers = [
                answer
                for search, group in zip(searches, groups, strict=True)
                for answer in ask(search, group)
            ]
            yield {
                "segments": segments,
                "cells": cells,
                "method": name,
                "prepare_ms": prepare_ms,
                **times(answers),
                **quality(asked, answers),
            }


def contexts(seed: int, segments: int, cells: int, count: int) -> list[Context]:
    """Seeded contexts of one seeded space."""
    space = seeded_space(seed, segments, cells)
    goals = seeded_goals(space, seed + 1000, count)
    return [Context(space, goal, optimum(space, goal)) for goal in goals]


def ask(search: Search, asked: list[Context]) -> Iterator[Answer]:
    """Answer each context once; the first is asked twice, so that code is warm."""
    search.best(asked[0].goal)
    for context in asked:
        clock, processor = time.perf_counter(), time.thread_time()
        found = search.best(context.goal)
        spent = time.perf_counter() - clock, time.thread_time() - processor
        yield Answer(found, 1e6 * spent[0], 1e6 * spent[1])


def times(answers: list[Answer]) -> dict[str, float]:
    """Percentiles by the clock, and of the processor's time, which neighbours take none of."""
    clock = np.array([answer.clock_us for answer in answers])
    processor = np.array([answer.processor_us for answer in answers])
    return {
        "p50_us": float(np.median(clock)),
        "p99_us": float(np.percentile(clock, 99)),
        "max_us": float(clock.max()),
        "processor_p50_us": float(np.median(processor)),
        "processor_p99_us": float(np.percentile(processor, 99)),
    }


def quality(asked: list[Context], answers: list[Answer]) -> dict[str, object]:
    """How near to the optimum, as a share of it and of what combinations differ by in worth."""
    pairs = list(zip(asked, answers, strict=True))
    feasible = [(c, a.found) for c, a in pairs if c.best is not None]
    lacking = [
        (np.inf, np.inf) if found is None else lacks(context, found) for context, found in feasible
    ]
    of_optimum, of_spread = np.array(lacking).T
    return {
        "contexts": len(asked),
        "feasible": len(feasible),
        "not_found": sum(found is None for _, found in feasible),
        "limits_broken": sum(a.found is not None and breaks(c, a.found) for c, a in pairs),
        "bounds_broken": sum(found is not None and overshoots(c, found) for c, found in feasible),
        "within_2_percent_ratio": float(np.mean(of_optimum <= NEAR_RATIO)),
        "within_2_percent_of_spread_ratio": float(np.mean(of_spread <= NEAR_RATIO)),
        "lacking_of_spread_p99": float(np.percentile(of_spread, 99, method="higher")),
        "lacking_of_spread_max": float(of_spread.max()),
        "proven_within_2_percent_of_spread_ratio": float(
            np.mean([
                found is not None
                and found.gap <= NEAR_RATIO * worth_spread(context.space, context.goal)
                for context, found in feasible
            ])
        ),
    }  # fmt: skip


def lacks(context: Context, found: Found) -> tuple[float, float]:
    """What a combination lacks of the best, as shares."""
    missing = context.best - found.worth
    return missing / abs(context.best), missing / worth_spread(context.space, context.goal)


def breaks(context: Context, found: Found) -> bool:
    """Whether a combination breaks a limit, its figures summed up anew."""
    space, goal = context.space, context.goal
    cells = list(zip(space.segments, found.cells, strict=True))
    joints = list(zip(found.cells, found.cells[1:], strict=False))

    def crossing(tables: tuple[np.ndarray, ...]) -> float:
        return sum(table[joint] for table, joint in zip(tables, joints, strict=True))

    name = "cold_latency_ms" if goal.cold else "latency_ms"
    spent = sum(getattr(part, name)[cell] for part, cell in cells) + crossing(space.crossing_ms)
    figures = (
        (goal.latency_limit_ms,
         goal.stretch * (space.latency_scale * spent + space.latency_offset_ms)),
        (goal.energy_limit_mj,
         sum(part.energy_mj[cell] for part, cell in cells) + crossing(space.crossing_mj)),
        (goal.memory_limit_bytes,
         sum(part.weights_bytes[cell] for part, cell in cells)
         + max(part.activations_bytes[cell] for part, cell in cells)),
        (None if goal.metric_floor is None else -goal.metric_floor,
         space.metric_bound - space.metric_base
         - sum(part.metric[cell] for part, cell in cells) - crossing(space.crossing_metric)),
    )  # fmt: skip
    return any(
        limit is not None and figure > limit + ROUNDING_RATIO * abs(limit)
        for limit, figure in figures
    )


def overshoots(context: Context, found: Found) -> bool:
    """Whether the optimum is above the bound that was said to be proven."""
    slack = ROUNDING_RATIO * (1 + abs(context.best))
    return not found.worth - slack <= context.best <= found.worth + found.gap + slack
