"""What a form is: one way to split a layer into parts, fitted at chosen ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ....ir.layers import Layer
from ..split import Part, Split, parts_macs_count

Ranks = tuple[int, ...]
Path = tuple[Ranks, ...]
"""Ranks of one form, each larger than the one before: the error falls, the cost rises."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A layer, its weight (O, I, *kernel) in float64, and E[x xᵀ] of what it reads, if known."""

    layer: Layer
    weight: np.ndarray
    covariance: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Fit:
    """The parts' weights, for their shapes, and |y - y'| / |y| of the layer's outputs."""

    factors: tuple[np.ndarray, ...]
    error_ratio: float


Fitter = Callable[[Ranks], Fit]


class Form(Protocol):
    """A frozen value that knows one way to split a layer.

    The last `branches` parts read the same tensor; their outputs are concatenated.
    """

    name: ClassVar[str]
    branches: ClassVar[int]

    def accepts(self, layer: Layer) -> bool:
        """Whether layers of this kind have such a form at all."""

    def obstacle(self, layer: Layer) -> str | None:
        """Why a layer of the kind cannot be given this form, or None."""

    def full_ranks(self, layer: Layer) -> Ranks:
        """The ranks at which nothing is lost."""

    def paths(self, layer: Layer, multiple_of: int) -> tuple[Path, ...]:
        """The ranks to choose from."""

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The matrices, made of a weight (O, I, *kernel), whose ranks are the form's, if any."""

    def fitter(self, problem: Problem) -> Fitter:
        """How the parts are fitted at given ranks; what several ranks need is computed once."""


def is_pointwise(layer: Layer) -> bool:
    """Whether a layer is one matrix at every place."""
    return layer.kind == "dense" or set(layer.weight_shape[2:]) == {1}


def rank_steps(full: int, multiple_of: int) -> tuple[int, ...]:
    """Multiples up to a full rank, and that."""
    return (*range(multiple_of, full, multiple_of), full)


def pointwise(layer: Layer, outputs: int, inputs: int) -> Part:
    """A part that is one matrix at every place of the layer's input."""
    ones = (1,) * (len(layer.weight_shape) - 2)
    around = (0,) * (2 * len(ones))
    shape = (outputs, inputs, *ones)
    return Part(shape=shape, strides=ones, padding=around, dilation=ones)


def as_layer(layer: Layer, shape: tuple[int, ...], groups: int = 1) -> Part:
    """A part that moves over its input as the whole layer does."""
    return Part(
        shape=shape,
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=groups,
    )


def split_of(form: Form, layer: Layer, ranks: Ranks, fit: Fit) -> Split:
    """Write a fit down as a decision."""
    parts, full = form.parts(layer, ranks), form.full_ranks(layer)
    pairs = zip(ranks, full, strict=True)
    reduced = [(r, most) for r, most in pairs if r < most or len(ranks) == 1]
    return Split(
        layer=layer.name,
        form=form.name,
        branches=form.branches,
        ranks=tuple(r for r, _ in reduced),
        full_ranks=tuple(most for _, most in reduced),
        error_ratio=fit.error_ratio,
        macs_count_before=layer.macs_count,
        macs_count_after=parts_macs_count(layer, parts, form.branches),
        parts=parts,
        factors=tuple(
            np.ascontiguousarray(factor.reshape(part.shape), np.float32)
            for factor, part in zip(fit.factors, parts, strict=True)
        ),
    )
