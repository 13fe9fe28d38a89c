"""Run a pipeline of passes: check each result, keep the decisions, name the pass that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import PassError
from ..ir.layers import macs_count, weight_bytes
from ..ir.model import Model
from ..ir.verify import verify
from .decision import Decision, Pass

if TYPE_CHECKING:
    from ..frontend.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Step:
    """One pass that ran: what it decided, and what it saved."""

    settings: Pass
    decisions: tuple[Decision, ...]
    macs_count_before: int
    macs_count_after: int
    weight_bytes_before: int
    weight_bytes_after: int

    def describe(self) -> str:
        """Say in one line what the pass saved."""
        return (
            f"{self.settings!r}: {self.macs_count_before:,} -> {self.macs_count_after:,} MACs, "
            f"{self.weight_bytes_before:,} -> {self.weight_bytes_after:,} bytes of weights"
        )


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A network after its passes, and the passes' decisions."""

    model: Model
    steps: tuple[Step, ...]


def _check_order(passes: Sequence[Pass]) -> None:
    """Refuse what makes no sense: after rounding, weights are integers with scales, or short."""
    for before, after in pairwise(passes):
        if before.rounds_weights:
            raise PassError(
                f"{after!r} after {before!r}: it changes float weights, and layers are rounded or "
                f"quantized already by then; put {before!r} last"
            )


def run(model: Model, passes: Sequence[Pass], calibration: Dataset | None) -> Compressed:
    """Apply passes in order; an error names the pass and what ran before it."""
    _check_order(passes)
    steps: list[Step] = []
    for settings in passes:
        done = ", ".join(repr(step.settings) for step in steps) or "no earlier pass"
        if settings.needs_data and calibration is None:
            raise PassError(f"{settings!r} needs calibration data; give a data set")
        try:
            decisions = settings.plan(model, calibration)
            smaller = settings.apply(model, decisions)
            verify(smaller)
        except PassError as error:
            raise PassError(f"{settings!r} after {done}: {error}") from error
        except Exception as error:
            raise PassError(f"{settings!r} failed after {done}: {error}") from error
        steps.append(
            Step(
                settings=settings,
                decisions=decisions,
                macs_count_before=macs_count(model),
                macs_count_after=macs_count(smaller),
                weight_bytes_before=weight_bytes(model),
                weight_bytes_after=weight_bytes(smaller),
            )
        )
        model = smaller
    return Compressed(model=model, steps=tuple(steps))
