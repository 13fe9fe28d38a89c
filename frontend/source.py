"""A network as its own framework runs it: what an import is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..ir.model import Model


class Source(Protocol):
    """A network in its source form, with its operators in the order in which they run."""

    @property
    def operators(self) -> Sequence[str]:
        """What each operator is called, for a person to find it."""

    @property
    def narrow(self) -> str | None:
        """The narrowest type of float of 16 bits that it computes in, if it does."""

    def run(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Compute the outputs.

        Raises:
            SourceFailure: the framework cannot compute them.

        """

    def until(self, index: int) -> Source:
        """The same network, ending with what the operator at `index` computes."""

    def import_(self) -> Model:
        """Import it afresh."""


class SourceFailure(Exception):
    """A framework could not run its own network."""


@dataclass(frozen=True)
class Imported:
    """A network, and what it was imported from where that can be run."""

    model: Model
    source: Source | None
