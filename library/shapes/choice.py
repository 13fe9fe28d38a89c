"""Which of a library's shapes the inputs of a call have, or a context speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError, UsageError
from ..context import Context
from ..joined.spaces import joined_spaces
from ..live.meter import Meter
from ..live.prepared import Prepared
from ..manifest import Manifest, Signature
from ..policies import Decide, Decision, Policy
from ..tensors import describe, shape_of, takes
from .padding import Padded, Padding


class Choice:
    """Finds a call's shape among a library's."""

    def __init__(self, signatures: Sequence[Signature], padding: Mapping[str, float]) -> None:
        self._signatures = signatures
        self._exact: dict[tuple[tuple[int, ...] | None, ...], int] = {
            tuple(spec.shape for spec in signature.inputs): index
            for index, signature in enumerate(signatures)
        }
        self._padding = Padding(signatures, padding) if padding else None

    def index_of(self, values: Sequence[Any]) -> int:
        """Find the shape that inputs have; where the library has one alone, that is it.

        Raises:
            InputError: they have none of several.

        """
        if len(self._signatures) == 1:
            return 0
        index = self._exact.get(tuple(map(shape_of, values)))
        if index is None:
            names = (spec.name for spec in self._signatures[0].inputs)
            given = ", ".join(map(describe, names, values))
            raise InputError(f"the inputs are {given}; {takes(self._signatures)}")
        return index

    def pad(self, values: Sequence[Any]) -> Padded | None:
        """Fill arrays up to the next larger shape; None where they need not, or may not be."""
        if self._padding is None or not all(isinstance(value, np.ndarray) for value in values):
            return None
        if tuple(value.shape for value in values) in self._exact:
            return None
        return self._padding.fit(values)

    def index_for(self, shapes: Mapping[str, Sequence[int]] | None) -> int:
        """Find the shape that a context names; the first where it names none.

        Raises:
            UsageError: there is none, or an input that it names.

        """
        wanted = {name: tuple(shape) for name, shape in (shapes or {}).items()}
        for index, signature in enumerate(self._signatures):
            known = {spec.name: spec.shape for spec in signature.inputs}
            if wanted.items() <= known.items():
                return index
        given = ", ".join(f"{name} {shape}" for name, shape in wanted.items())
        raise UsageError(f"the context's shapes are {given}; {takes(self._signatures)}")


def decide_by_shape(
    policy: Policy, manifests: Sequence[Manifest], meter: Meter | None = None
) -> Decide:
    """Prepare a policy for each shape's costs; a context's shapes say which are decided by.

    Costs are those of all libraries, as the meter's calls show them.

    Raises:
        UsageError: it is no policy, or a class of them.

    """
    if isinstance(policy, type) or not callable(getattr(policy, "prepare", None)):
        raise UsageError(
            f"the policy is {policy!r}; give one that has prepare(spaces), for example "
            "adaspring.Deadline()"
        )
    meter = meter or Meter(manifests)
    shapes = manifests[0].signatures
    choice = Choice(shapes, {})
    prepared = [
        Prepared(policy, joined_spaces(manifests, index), index, meter)
        for index in range(len(shapes))
    ]

    def decide(context: Context, current: str | None = None) -> Decision:
        asked = getattr(context, "shapes", None)  # what is no context, the policy refuses
        return prepared[choice.index_for(asked)](context, current)

    return decide
