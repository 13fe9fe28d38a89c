"""What the forms share that are fitted by alternating least squares, at one rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....ir.layers import Layer
from ..alternating import Factors, Goal, alternate
from ..lowrank import channel_root
from ..split import Part, parts_macs_count
from .base import Fit, Fitter, Path, Problem, Ranks, is_pointwise


@dataclass(frozen=True)
class Multilinear(ABC):
    """A form of a k×k convolution at one rank; its factors are the parts' weights, last first."""

    name: ClassVar[str]
    branches: ClassVar[int] = 1
    mixes_inputs: ClassVar[bool] = True
    """Whether the first part mixes the input's channels."""

    def accepts(self, layer: Layer) -> bool:
        """Whether layers of this kind have such a form at all."""
        return layer.kind == "conv2d" and not is_pointwise(layer)

    def obstacle(self, layer: Layer) -> str | None:
        """Why a layer of the kind cannot be given this form, or None."""
        if 1 in layer.weight_shape[2:]:
            return "its kernel is one-dimensional"
        return None

    def paths(self, layer: Layer, multiple_of: int) -> tuple[Path, ...]:
        """The ranks that save MACs."""
        found = []
        for rank in range(multiple_of, self.full_ranks(layer)[0] + 1, multiple_of):
            parts = self.parts(layer, (rank,))
            if parts_macs_count(layer, parts, self.branches) >= layer.macs_count:
                break
            found.append((rank,))
        return (tuple(found),)

    @abstractmethod
    def full_ranks(self, layer: Layer) -> Ranks:
        """The rank that is enough for any weight of the shape."""

    @abstractmethod
    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""

    @abstractmethod
    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Return what gives the factors to begin with; what all ranks need is computed once."""

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The matrices whose ranks are the form's; none here."""
        return ()

    def fitter(self, problem: Problem) -> Fitter:
        """Fit in coordinates in which the input's channels are uncorrelated, then go back."""
        goal, root = whiten(problem) if self.mixes_inputs else (goal_of(problem), None)
        start = self.start(goal.weight)

        def fit(ranks: Ranks) -> Fit:
            factors, error_ratio = alternate(start(ranks), goal)
            inner = factors.arrays[-1]
            if root is not None:
                flat = np.moveaxis(inner, 1, 0)
                back = np.linalg.solve(root.T, flat.reshape(len(root), -1))
                inner = np.moveaxis(back.reshape(flat.shape), 0, 1)
            return Fit(self.weights((*factors.arrays[:-1], inner)), error_ratio)

        return fit

    def weights(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return the parts' weights, first part first."""
        return arrays[::-1]


def goal_of(problem: Problem) -> Goal:
    """What is to be approximated, in the layer's own coordinates."""
    return Goal(problem.weight, problem.covariance)


def whiten(problem: Problem) -> tuple[Goal, np.ndarray | None]:
    """With x = R x', return W R and E[x' x'ᵀ], and R (I, I); all as it is without data."""
    weight, covariance = problem.weight, problem.covariance
    if covariance is None:
        return goal_of(problem), None
    root = channel_root(weight, covariance, WHITENED_SHARE)
    c_in = len(root)
    half = np.linalg.solve(root, covariance.reshape(c_in, -1)).reshape(covariance.shape)
    both = np.linalg.solve(root, half.T.reshape(c_in, -1)).reshape(covariance.shape)
    return Goal(np.einsum("oiyx,ij->ojyx", weight, root), both), root


WHITENED_SHARE = 1e-4
"""Channels' directions of less than this share of the mean power are not enlarged further."""


def directions(unfolded: np.ndarray) -> np.ndarray:
    """Return the right singular vectors of a matrix (n, d) as rows (d, d), strongest first."""
    return np.linalg.eigh(unfolded.T @ unfolded)[1][:, ::-1].T
