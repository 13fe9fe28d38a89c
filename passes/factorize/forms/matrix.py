"""The forms of one matrix: a dense or 1×1 layer in two, a k×k convolution between two of 1×1.

Svd     y = x @ W                      W (k, n)
        y = (x @ A) @ B                A (k, r), B (r, n); a 1×1 convolution likewise

Tucker  y = conv(x, W)                 W (o, i, kh, kw)
        y = conv(conv(conv(x, A), K), B)
        A (p, i, 1, 1), K (q, p, kh, kw) with W's strides and padding, B (o, q, 1, 1); A or B is
        left out where p = i or q = o. Kernels of one and of three axes likewise.

The mathematics is in `lowrank.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ....ir.layers import Layer
from ..lowrank import spectrum, tucker_at_inner_rank
from ..split import Part
from .base import Fit, Fitter, Path, Problem, Ranks, as_layer, is_pointwise, pointwise, rank_steps

INNER_RANKS_TRIED = 8


@dataclass(frozen=True)
class Svd:
    """A dense layer or a 1×1 convolution as two."""

    name: ClassVar[str] = "svd"
    branches: ClassVar[int] = 1

    def accepts(self, layer: Layer) -> bool:
        """Whether layers of this kind have such a form at all."""
        return is_pointwise(layer)

    def obstacle(self, layer: Layer) -> str | None:
        """Why a layer of the kind cannot be given this form, or None."""
        return None

    def full_ranks(self, layer: Layer) -> Ranks:
        """The ranks at which nothing is lost."""
        return (min(layer.weight_shape[:2]),)

    def paths(self, layer: Layer, multiple_of: int) -> tuple[Path, ...]:
        """The ranks to choose from."""
        return (tuple((r,) for r in rank_steps(self.full_ranks(layer)[0], multiple_of)),)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (rank,), shape = ranks, layer.weight_shape
        if layer.kind != "dense":
            first = as_layer(layer, (rank, *shape[1:]))
            return first, pointwise(layer, shape[0], rank)
        pair = ((shape[0], rank), (rank, shape[1]))
        return tuple(Part(shape=one) for one in (pair[::-1] if layer.transposed else pair))

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The weight."""
        return (weight.reshape(weight.shape[:2]),)

    def fitter(self, problem: Problem) -> Fitter:
        """Cut the spectrum of the outputs."""
        weight = problem.weight.reshape(problem.weight.shape[:2])
        found = spectrum(weight, problem.covariance)
        flipped = problem.layer.kind == "dense" and not problem.layer.transposed

        def fit(ranks: Ranks) -> Fit:
            (rank,) = ranks
            factors = (found.right[:rank], found.left[:, :rank])
            stored = tuple(f.T for f in factors) if flipped else factors
            return Fit(stored, float(found.error_ratios[rank]))

        return fit


@dataclass(frozen=True)
class Tucker:
    """A k×k convolution between two of 1×1 (Tucker-2)."""

    name: ClassVar[str] = "tucker"
    branches: ClassVar[int] = 1

    def accepts(self, layer: Layer) -> bool:
        """Whether layers of this kind have such a form at all."""
        return not is_pointwise(layer)

    def obstacle(self, layer: Layer) -> str | None:
        """Why a layer of the kind cannot be given this form, or None."""
        return None

    def full_ranks(self, layer: Layer) -> Ranks:
        """The ranks at which nothing is lost: of the input side, of the output side."""
        return layer.weight_shape[1], layer.weight_shape[0]

    def paths(self, layer: Layer, multiple_of: int) -> tuple[Path, ...]:
        """For some ranks of the input side, all of the output side."""
        c_in, c_out = self.full_ranks(layer)
        inner = rank_steps(c_in, multiple_of)[:-1]
        tried = (*inner[:: max(1, len(inner) // INNER_RANKS_TRIED)], c_in)
        return tuple(tuple((p, q) for q in rank_steps(c_out, multiple_of)) for p in tried)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (p, q), (c_out, c_in, *kernel) = ranks, layer.weight_shape
        inner = (pointwise(layer, p, c_in),) if p < c_in else ()
        outer = (pointwise(layer, c_out, q),) if q < c_out else ()
        return (*inner, as_layer(layer, (q, p, *kernel)), *outer)

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The weight with its input channels, then its output channels, against all else."""
        c_out, c_in = weight.shape[:2]
        return weight.swapaxes(0, 1).reshape(c_in, -1), weight.reshape(c_out, -1)

    def fitter(self, problem: Problem) -> Fitter:
        """Project the inputs once for each rank of theirs, then cut the outputs' spectrum."""
        of_inner = cache(tucker_at_inner_rank(problem.weight, problem.covariance))

        def fit(ranks: Ranks) -> Fit:
            factors, error_ratio = of_inner(ranks[0]).truncate(ranks[1])
            return Fit(factors, error_ratio)

        return fit
