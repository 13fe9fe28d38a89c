"""What enters a library: right, accurate enough, and measured better than what is plainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..frontend.shapes import specs_text
from ..ir.quantized_layers import is_quantized
from ..library.manifest import Cost
from .request import Bounds
from .variants import Variant

# A value of few bits may round the other way where a sum differs in its last bit, so a network of
# int8 or 16 bits follows its reference less closely than a float one its own.
FLOAT_TOLERANCE_RATIO = 1e-3
_LOW_PRECISION_TOLERANCE_RATIOS = {"int8": 5e-2, "bfloat16": 2e-2, "float16": 5e-3}

# Differences below these are noise, not gains.
_FASTER_RATIO = 0.98


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A built variant with what was found of it; None where the board was not here.

    Where it was not `ran`, `agreement_ratio` is its lowering's (`explore/measure/elsewhere.py`).
    All is that of the first shape; `further_shapes` follow.
    """

    variant: Variant
    cost: Cost
    agreement_ratio: float | None
    validation_accuracy: float | None
    latency_ratio: float | None
    ran: bool = True
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
    def tolerance_ratio(self) -> float:
        """How far its outputs may be from the reference's."""
        types = {value.dtype.name for value in self.variant.model.weights.values()}
        if is_quantized(self.variant.model):
            types.add("int8")
        low = [ratio for dtype, ratio in _LOW_PRECISION_TOLERANCE_RATIOS.items() if dtype in types]
        return max(low, default=FLOAT_TOLERANCE_RATIO)


def refusal(dense: Contender, contender: Contender, bounds: Bounds) -> str | None:
    """Why a contender may not enter, or None; `dense` is the network with nothing compressed.

    It must be right, accurate and within the bounds at every shape, and faster at one.
    """
    for each in contender.at_shapes:
        fault = _fault(dense, each, bounds)
        if fault is not None:
            where = f"at {specs_text(each.variant.model.inputs)}: "
            return f"{where if contender.further_shapes else ''}{fault}"
    ratios = [each.latency_ratio for each in contender.at_shapes]
    if contender is dense or not all(ratio and ratio > _FASTER_RATIO for ratio in ratios):
        return None
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"not faster than dense: {listed} of its time"


def _fault(dense: Contender, contender: Contender, bounds: Bounds) -> str | None:
    """What is wrong with a contender at one shape, or None."""
    if contender.agreement_ratio is not None and not (
        contender.agreement_ratio <= contender.tolerance_ratio
    ):
        return (
            f"its outputs differ from the reference by {contender.agreement_ratio:.2g} "
            f"of the largest value (tolerance {contender.tolerance_ratio:g})"
        )
    latency = contender.cost.latency_p90_ms
    if bounds.latency_ms is not None and latency and latency.value > bounds.latency_ms:
        return f"its p90 of {latency.value:.3g} ms is above the asked {bounds.latency_ms:g} ms"
    if contender is dense:
        return None
    return accuracy_refusal(dense.validation_accuracy, contender.validation_accuracy, bounds)


def accuracy_refusal(dense: float | None, other: float | None, bounds: Bounds) -> str | None:
    """Why an accuracy on the validation split is too low, or None, as where it is not known."""
    if dense is None or other is None or dense - other <= bounds.max_drop:
        return None
    return (
        f"accuracy falls by {100 * (dense - other):.1f} points on the validation split "
        f"(allowed {100 * bounds.max_drop:g})"
    )


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


def _lost_accuracy(contender: Contender) -> float | None:
    return None if contender.validation_accuracy is None else -contender.validation_accuracy


def _figure(field: str) -> Callable[[Contender], float | None]:
    def read(contender: Contender) -> float | None:
        figure = getattr(contender.cost, field)
        return None if figure is None else figure.value

    return read


_AXES: tuple[Callable[[Contender], float | None], ...] = (
    _lost_accuracy,
    _figure("latency_p50_ms"),
    _figure("peak_memory_bytes"),
    _figure("energy_mj"),
    _figure("size_bytes"),
)
