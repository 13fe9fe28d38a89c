"""What enters a library: right, accurate enough, and measured better than what is plainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..frontend.shapes import specs_text
from ..ir.model import Model
from ..ir.quantized_layers import is_quantized
from ..library.manifest import Cost, Figure, MetricFigure
from ..metrics import Metric, worse_by
from .request import Bounds
from .variants import Variant

# A value of few bits may round the other way where a sum differs in its last bit, so a network of
# int8 or 16 bits follows its reference less closely than a float one its own.
FLOAT_TOLERANCE_RATIO = 1e-3
_LOW_PRECISION_TOLERANCE_RATIOS = {"int8": 5e-2, "bfloat16": 2e-2, "float16": 5e-3}

# Differences below these are noise, not gains.
FASTER_RATIO = 0.98


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A built variant with what was found of it; None where the board was not here.

    Where it was not `ran`, `agreement_ratio` is its lowering's (`explore/measure/elsewhere.py`).
    `rounding_ratio` is how far rounding lets it be from its reference, where that is more than a
    few levels (`explore/accuracy/rounding.py`). `fault` says why its answers cannot be judged. All
    is that of the first shape; `further_shapes` follow.
    """

    variant: Variant
    cost: Cost
    agreement_ratio: float | None
    latency_ratio: float | None
    rounding_ratio: float = 0.0
    ran: bool = True
    fault: str | None = None
    further_shapes: tuple[Contender, ...] = ()

    @property
    def at_shapes(self) -> tuple[Contender, ...]:
        """The variant at every shape."""
        return (self, *self.further_shapes)

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.variant.name

    @property
    def validation_metric(self) -> float | None:
        """The metric on the split that decides, or None where there is none."""
        return _value(self.cost.validation_metric)

    @property
    def tolerance_ratio(self) -> float:
        """How far its outputs may be from the reference's."""
        return max(tolerance_ratio(self.variant.model), self.rounding_ratio)


def tolerance_ratio(model: Model) -> float:
    """How far a built network's outputs may be from the reference's."""
    types = {value.dtype.name for value in model.weights.values()}
    if is_quantized(model):
        types.add("int8")
    low = [ratio for dtype, ratio in _LOW_PRECISION_TOLERANCE_RATIOS.items() if dtype in types]
    return max(low, default=FLOAT_TOLERANCE_RATIO)


def refusal(
    dense: Contender, contender: Contender, bounds: Bounds, metric: Metric | None
) -> str | None:
    """Why a contender may not enter, or None; `dense` is the network with nothing compressed.

    It must be right, good and within the bounds at every shape, and faster at one.
    """
    for each in contender.at_shapes:
        fault = _fault(dense, each, bounds, metric)
        if fault is not None:
            where = f"at {specs_text(each.variant.model.inputs)}: "
            return f"{where if contender.further_shapes else ''}{fault}"
    ratios = [each.latency_ratio for each in contender.at_shapes]
    if contender is dense or not all(ratio and ratio > FASTER_RATIO for ratio in ratios):
        return None
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"not faster than dense: {listed} of its time"


def _fault(
    dense: Contender, contender: Contender, bounds: Bounds, metric: Metric | None
) -> str | None:
    """What is wrong with a contender at one shape, or None."""
    if contender.agreement_ratio is not None and not (
        contender.agreement_ratio <= contender.tolerance_ratio
    ):
        return (
            f"its outputs differ from the reference by {contender.agreement_ratio:.2g} "
            f"of the largest value (tolerance {contender.tolerance_ratio:g})"
        )
    if contender.fault is not None:
        return contender.fault
    latency = contender.cost.latency_p90_ms
    if bounds.latency_ms is not None and latency and latency.value > bounds.latency_ms:
        return f"its p90 of {latency.value:.3g} ms is above the asked {bounds.latency_ms:g} ms"
    found = contender.validation_metric
    return metric_refusal(metric, dense.validation_metric, found, bounds)


def metric_refusal(
    metric: Metric | None, dense: float | None, other: float | None, bounds: Bounds
) -> str | None:
    """Why a value on the validation split is too bad, or None, as where it is not known."""
    if metric is None or dense is None or other is None:
        return None
    lost, allowed = worse_by(metric.direction, dense, other), bounds.max_drop
    if allowed is not None and lost > allowed:
        falls = "falls" if metric.direction == "higher" else "rises"
        return (
            f"{metric.name} {falls} by {metric.describe_change(lost)} on the validation split "
            f"(allowed {metric.describe_change(allowed)})"
        )
    floor = bounds.min_metric
    if floor is not None and metric.is_better(floor, other):
        return (
            f"{metric.name} is {metric.describe(other)} on the validation split, worse than the "
            f"asked {metric.describe(floor)}"
        )
    return None


def dominated_by(contender: Contender, others: Sequence[Contender]) -> Contender | None:
    """Another that is at least as good in everything that is known, and better in something.

    Everything is every figure at every shape.
    """
    for other in others:
        shapes = list(zip(contender.at_shapes, other.at_shapes, strict=True))
        pairs = [(axis(ours), axis(theirs)) for axis in _AXES for ours, theirs in shapes]
        known = [
            (ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None
        ]
        no_worse = all(theirs <= ours for ours, theirs in known)
        if no_worse and any(theirs < ours for ours, theirs in known):
            return other
    return None


def _badness(contender: Contender) -> float | None:
    figure = contender.cost.validation_metric
    return None if figure is None else worse_by(figure.direction, 0.0, figure.value)


def _figure(field: str) -> Callable[[Contender], float | None]:
    return lambda contender: _value(getattr(contender.cost, field))


def _value(figure: Figure | MetricFigure | None) -> float | None:
    return None if figure is None else figure.value


_AXES: tuple[Callable[[Contender], float | None], ...] = (
    _badness,
    _figure("latency_p50_ms"),
    _figure("peak_memory_bytes"),
    _figure("energy_mj"),
    _figure("size_bytes"),
)
