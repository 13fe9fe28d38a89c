"""Decisions of every policy on large spaces: where something fits the context, and where hardly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
from switching_spaces import extremes, seeded_space

from adaspring.library.context import Context
from adaspring.library.evolve.space import Segment, Space
from adaspring.library.evolve.spaces import Spaces
from adaspring.library.policies import Balanced, Budget, Deadline, LambdaRule, Policy

SEGMENTS, CELLS, SPACES = 20, 8, 5
POLICIES: Mapping[str, Policy] = {
    "Balanced": Balanced(),
    "Deadline": Deadline(),
    "Budget": Budget(capacity_wh=10),
    "LambdaRule": LambdaRule(),
}
SHARES = {"mostly fits": (0.2, 1.05), "mostly nothing fits": (-0.3, 0.25)}
"""Where limits lie between the least that is possible (0) and what the dense network takes (1)."""


def rows(quick: bool) -> Iterator[Mapping[str, object]]:
    """A row for each policy and kind of contexts; what was chosen before runs now."""
    asked = [offer(seed) for seed in range(SPACES)]
    for name, policy in POLICIES.items():
        for kind, shares in SHARES.items():
            processor_ms, relaxed = [], 0
            for seed, (spaces, dense, least) in enumerate(asked):
                decide, current = policy.prepare(spaces), None
                for context in contexts(seed, dense, least, shares, 5 if quick else 25):
                    start = time.thread_time()
                    decision = decide(context, current)
                    processor_ms.append(1e3 * (time.thread_time() - start))
                    current, relaxed = decision.variant, relaxed + bool(decision.relaxed)
            p50, p90, p99 = (float(np.percentile(processor_ms, p)) for p in (50, 90, 99))
            yield {
                "policy": name, "contexts": kind, "decisions": len(processor_ms),
                "relaxed": relaxed, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99,
            }  # fmt: skip


def offer(seed: int) -> tuple[Spaces, np.ndarray, np.ndarray]:
    """A library of two whole variants and a large space; the dense figures and the least ones."""
    space = seeded_space(seed, SEGMENTS, CELLS)
    dense, least = map(np.array, extremes(space))
    metric, ms, mj, size = dense
    half = np.array([1.0, 0.5])
    whole = Segment(
        names=("dense", "small"),
        metric=np.array([metric, metric - 0.02]),
        latency_ms=ms * half,
        cold_latency_ms=1.3 * ms * half,
        energy_mj=mj * half,
        weights_bytes=size * half,
        activations_bytes=np.zeros(2),
    )
    spaces = Spaces(
        each=(Space(segments=(whole,)), space),
        metric="accuracy",
        unit="ratio",
        metric_noise=0.002,
        plainest="dense",
        plainest_metric=float(metric),
        plainest_energy_mj=float(mj),
    )
    return spaces, dense, least


def contexts(
    seed: int, dense: np.ndarray, least: np.ndarray, shares: tuple[float, float], count: int
) -> Iterator[Context]:
    """Seeded contexts; each constraint is asked for in seven of ten."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        limits = least + random.uniform(*shares, 4) * (dense - least)
        floor, ms, mj, size = (
            max(float(limit), 1e-3) if random.random() < 0.7 else None for limit in limits
        )
        yield Context(
            battery_ratio=float(random.random()) if random.random() < 0.5 else None,
            metric_floor=None if floor is None else min(floor, 1.0),
            latency_budget_ms=ms,
            memory_budget_bytes=size,
            energy_left_mj=None if mj is None else 1000 * mj,
            time_left_s=10,
            calls_per_s=100,
            load_ratio=float(random.choice([0.0, 0.0, 0.5])),
        )
