"""The figures of a variant, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ..backends.build import Built
from ..ir.layers import layers
from ..ir.loops import loops
from ..ir.model import Model
from ..ir.quantized_layers import integer_layers
from ..library.manifest import Cost, Figure, MetricFigure
from ..library.score import Score
from ..metrics import Metric
from ..targets import Board, EnergyModel
from .accuracy.scores import Scores

_ON_GPU = "planned activations, weights and code; the kernels' scratch is not known"
MODELLED_MEMORY = {
    "cpu": "planned activations, the kernels' scratch on one calling thread, weights and code",
    "opencl": _ON_GPU,
    "cuda": _ON_GPU,
}
MEASURED_MEMORY = "growth of an app's process from the open library to the peak of its calls"

COLD = "calls 50 ms apart, one sample"

_PICOJOULES_PER_MILLIJOULE = 1e9


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds of one call, and of one that comes 50 ms after the one before (cold).

    `ratio_to_plainest` is the median over rounds of this variant's time over the plainest's in
    the same round.
    """

    p50_ms: float
    p90_ms: float
    ratio_to_plainest: float
    how: str
    where: str
    cold_p50_ms: float | None = None
    cold_p90_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Macs:
    """Multiply-adds of one call, by the type in which they are computed."""

    float32: int
    int8: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.float32 + self.int8


def count_macs(model: Model) -> Macs:
    """Multiply-adds of a network's layers, and of its loops over time."""
    found = [layer.macs_count for layer in layers(model)]
    found += [loop.macs_count for loop in loops(model)]
    int8 = sum(layer.macs_count for layer in integer_layers(model))
    return Macs(float32=sum(found) - int8, int8=int8)


def modelled_memory_bytes(built: Built) -> int:
    """What an app's process grows by while it opens a variant and runs it, as far as planned."""
    code = built.code.stat().st_size
    return built.weight_bytes + built.activation_bytes + built.scratch_bytes + code


def make_cost(
    model: Model,
    built: Built,
    board: Board,
    latency: Latency | None = None,
    scores: Scores | None = None,
    measured_memory_bytes: int | None = None,
) -> Cost:
    """Everything known of a network as it was built; what is not known is None."""
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def measured(value: float, how: str) -> Figure:
        return Figure(value=value, origin="measured", how=how, when=now)

    def modelled(value: float, how: str) -> Figure:
        return Figure(value=value, origin="modelled", how=how, when=now)

    macs = count_macs(model)
    traffic = built.weight_bytes + built.activation_bytes
    memory_bytes = modelled_memory_bytes(built)

    def cold(value_ms: float | None) -> Figure | None:
        where = "" if latency is None else latency.where
        return None if value_ms is None else measured(value_ms, f"{COLD}, {where}")

    return Cost(
        size_bytes=measured(built.code.stat().st_size + built.weight_bytes, "code and weights"),
        macs_count=measured(macs.total, "convolutions and matrix products of one call, counted"),
        metric=_judged(scores, "test", board, now),
        validation_metric=_judged(scores, "validation", board, now),
        latency_p50_ms=measured(latency.p50_ms, latency.how) if latency else None,
        latency_p90_ms=measured(latency.p90_ms, latency.how) if latency else None,
        cold_latency_p50_ms=cold(latency.cold_p50_ms) if latency else None,
        cold_latency_p90_ms=cold(latency.cold_p90_ms) if latency else None,
        peak_memory_bytes=modelled(memory_bytes, MODELLED_MEMORY[board.device])
        if measured_memory_bytes is None
        else measured(measured_memory_bytes, f"{MEASURED_MEMORY}; modelled {memory_bytes} bytes"),
        energy_mj=modelled(*_energy(board.energy, macs, traffic, latency))
        if board.energy
        else None,
    )


def _judged(scores: Scores | None, split: str, board: Board, now: str) -> MetricFigure | None:
    """The metric on one split, as measured where the board ran."""
    if scores is None:
        return None
    score = scores.test if split == "test" else scores.validation
    metric, ran = scores.metric, scores.where is not None
    where = f"run on {scores.where}" if ran else f"reference executor; not run on {board.name}"
    how = f"{split} split, {score.count} samples, {where}"
    return metric_figure(metric, score, "measured" if ran else "modelled", how, now)


def metric_figure(
    metric: Metric, score: Score, origin: Literal["measured", "modelled"], how: str, when: str
) -> MetricFigure:
    """A metric's value with what it is, where it comes from and how sure it is."""
    return MetricFigure(
        name=metric.name,
        direction=metric.direction,
        value=score.value,
        origin=origin,
        how=how,
        when=when,
        unit=metric.unit,
        against=metric.against,
        interval=score.interval,
    )


def _energy(
    model: EnergyModel, macs: Macs, traffic_bytes: int, latency: Latency | None
) -> tuple[float, str]:
    picojoules = (
        macs.float32 * model.pj_per_mac_fp32
        + macs.int8 * model.pj_per_mac_int8
        + traffic_bytes * model.pj_per_byte_dram
    )
    idle_mj = model.idle_w * latency.p50_ms if latency else 0.0
    how = "board's energy model: MACs, each weight and activation byte once from memory"
    if latency and model.idle_w:
        how += ", idle power during the call"
    return picojoules / _PICOJOULES_PER_MILLIJOULE + idle_mj, how
