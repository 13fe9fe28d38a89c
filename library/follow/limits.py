"""What a variant would break in a context, and what it holds of the memory."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ..context import Context
from ..manifest import Manifest
from ..policy import Decision, LambdaPolicy
from ..shapes.choice import decide_by_shape


class Limits:
    """Answers for the variants of one library, from the costs in its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._alone: dict[str, Callable[[Context], Decision]] = {}
        self._any = decide_by_shape(LambdaPolicy(), manifest)

    def can_be_met(self, context: Context) -> bool:
        """Tell whether a variant meets every constraint."""
        return not self._any(context).relaxed

    def broken(self, variant: str, context: Context) -> tuple[str, ...]:
        """Name the constraints that a variant does not meet, as far as its figures are known.

        The λ rule, asked about one variant alone, gives up just those.
        """
        if variant not in self._alone:
            alone = replace(self._manifest, variants=(self._manifest.variant(variant),))
            self._alone[variant] = decide_by_shape(LambdaPolicy(), alone)
        return self._alone[variant](context).relaxed

    def held_bytes(self, variant: str) -> float:
        """What a variant holds at its peak besides its weights and code, or 0 if not known.

        Those are pages of files, which count as available memory while they are used.
        """
        cost = self._manifest.variant(variant).cost
        if cost.peak_memory_bytes is None:
            return 0.0
        return max(0.0, cost.peak_memory_bytes.value - cost.size_bytes.value)
