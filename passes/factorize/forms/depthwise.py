"""Forms that filter each channel alone, between layers of 1×1: sums of r products.

Cp          y = B D₂ D₁ A x            A (r, i, 1, 1), D₁ (r, 1, kh, 1) and D₂ (r, 1, 1, kw)
                                       depthwise, B (o, r, 1, 1)
Bottleneck  y = B D A x                the same with D (r, 1, kh, kw) depthwise
Separable   y = B D x                  D (i, 1, kh, kw) depthwise, B (o, i, 1, 1)

r may be larger than i. Strides, padding and dilation are those of the depthwise parts.

Source  V. Lebedev et al., Speeding-up Convolutional Neural Networks Using Fine-tuned
        CP-Decomposition, ICLR 2015; M. Sandler et al., MobileNetV2, CVPR 2018 (Bottleneck, there
        with nonlinearities between); F. Chollet, Xception, CVPR 2017 (Separable).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from ....ir.layers import Layer
from ..alternating import Factors
from ..split import Part, parts_macs_count
from .base import Path, Ranks, as_layer
from .multilinear import Multilinear, directions
from .separated import down_then_across


@dataclass(frozen=True)
class Cp(Multilinear):
    """A k×k convolution as 1×1, depthwise k×1, depthwise 1×k, 1×1."""

    name: ClassVar[str] = "cp"

    def full_ranks(self, layer: Layer) -> Ranks:
        """As many products as there are to begin with, and no tensor of the shape needs more."""
        shape = layer.weight_shape
        return (min(prod(shape) // max(shape), products_count(shape)),)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (rank,), (c_out, c_in, height, width) = ranks, layer.weight_shape
        filters = (rank, 1, height, 1), (rank, 1, 1, width)
        return (
            Part(shape=(rank, c_in, 1, 1)),
            *down_then_across(layer, *filters, groups=rank),
            Part(shape=(c_out, rank, 1, 1)),
        )

    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Begin with the strongest products of a channel direction and two filters."""
        channels, filters, sizes = products(weight)
        down, middle, across = np.linalg.svd(filters, full_matrices=False)
        order = np.argsort(-sizes * middle[:, 0], kind="stable")

        def at(ranks: Ranks) -> Factors:
            (rank,) = ranks
            chosen = order[:rank]
            inner = (down[chosen, :, 0], across[chosen, 0], channels[chosen])
            arrays = (np.zeros((len(weight), rank)), *inner)
            return Factors(("or", "ry", "rx", "ri"), arrays, free=(1, 2, 3))

        return at

    def weights(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return the parts' weights, first part first."""
        outer, down, across, inner = arrays
        return inner, down, across, outer


@dataclass(frozen=True)
class Bottleneck(Multilinear):
    """A k×k convolution as 1×1, depthwise k×k, 1×1."""

    name: ClassVar[str] = "bottleneck"

    def full_ranks(self, layer: Layer) -> Ranks:
        """For each input channel, as many filters as there are different ones."""
        return (products_count(layer.weight_shape),)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (rank,), shape = ranks, layer.weight_shape
        return (
            Part(shape=(rank, shape[1], 1, 1)),
            _depthwise(layer, rank),
            Part(shape=(shape[0], rank, 1, 1)),
        )

    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Begin with the strongest products of a channel direction and a filter."""
        channels, filters, sizes = products(weight)
        order = np.argsort(-sizes, kind="stable")

        def at(ranks: Ranks) -> Factors:
            (rank,) = ranks
            chosen = order[:rank]
            arrays = (np.zeros((len(weight), rank)), filters[chosen], channels[chosen])
            return Factors(("or", "ryx", "ri"), arrays, free=(1, 2))

        return at


@dataclass(frozen=True)
class Separable(Multilinear):
    """A k×k convolution as depthwise k×k, 1×1; it has no rank to choose."""

    name: ClassVar[str] = "separable"
    mixes_inputs: ClassVar[bool] = False

    def full_ranks(self, layer: Layer) -> Ranks:
        """None."""
        return ()

    def paths(self, layer: Layer, multiple_of: int) -> tuple[Path, ...]:
        """The one form, if it saves MACs."""
        saves = parts_macs_count(layer, self.parts(layer, ())) < layer.macs_count
        return (((),),) if saves else ((),)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes."""
        c_out, c_in = layer.weight_shape[:2]
        return _depthwise(layer, c_in), Part(shape=(c_out, c_in, 1, 1))

    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Begin with the strongest filter of each channel."""
        c_out, c_in, *kernel = weight.shape
        flat = weight.transpose(1, 0, 2, 3).reshape(c_in, c_out, -1)
        filters = np.linalg.svd(flat, full_matrices=False)[2][:, 0].reshape(c_in, *kernel)
        arrays = (np.zeros((c_out, c_in)), filters, np.eye(c_in))
        return lambda ranks: Factors(("or", "ryx", "ri"), arrays, free=(1,))

    def weights(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return the parts' weights, first part first."""
        return arrays[1], arrays[0]


def products(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the products of which a weight (O, I, kh, kw) is a sum, each for one output vector.

    Channel directions (n, I), filters (n, kh, kw) and how much of the weight they carry (n,).
    """
    c_out, c_in, *kernel = weight.shape
    channels = directions(weight.transpose(0, 2, 3, 1).reshape(-1, c_in))
    along_each = np.einsum("oiyx,ji->joyx", weight, channels).reshape(c_in, c_out, -1)
    _, sizes, filters = np.linalg.svd(along_each, full_matrices=False)
    count = sizes.shape[1]
    return (
        np.repeat(channels, count, axis=0),
        filters.reshape(-1, *kernel),
        sizes.ravel(),
    )


def products_count(shape: tuple[int, ...]) -> int:
    """How many products `products` finds in a weight of this shape."""
    c_out, c_in, *kernel = shape
    return c_in * min(c_out, prod(kernel))


def _depthwise(layer: Layer, rank: int) -> Part:
    return as_layer(layer, (rank, 1, *layer.weight_shape[2:]), groups=rank)
