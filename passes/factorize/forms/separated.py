"""Forms that filter every place with few channels.

Spatial  y = conv(conv(x, V), H)       V (r, i, kh, 1), H (o, r, 1, kw); strides, padding and
                                       dilation go with their side

Fire     s = conv(x, S)                S (p, i, 1, 1): squeeze
         y = [conv(s, A), conv(s, B)]  A (o/2, p, 1, 1), B (o/2, p, kh, kw): expand, side by side

Source  M. Jaderberg et al., Speeding up Convolutional Neural Networks with Low Rank Expansions,
        BMVC 2014 (scheme 2); F. Iandola et al., SqueezeNet, arXiv:1602.07360 (fire, there with
        nonlinearities between); S. Liu et al., AdaSpring, IMWUT 2021 (operators δ1 and δ2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....ir.layers import Layer
from ..alternating import Factors
from ..split import Part
from .base import Ranks, as_layer
from .multilinear import Multilinear, directions

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Spatial(Multilinear):
    """A k×k convolution as k×1, then 1×k."""

    name: ClassVar[str] = "spatial"

    def full_ranks(self, layer: Layer) -> Ranks:
        """The rank of the weight as a matrix, (i, y) by (o, x)."""
        c_out, c_in, height, width = layer.weight_shape
        return (min(c_in * height, c_out * width),)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (rank,), (c_out, c_in, height, width) = ranks, layer.weight_shape
        return tuple(down_then_across(layer, (rank, c_in, height, 1), (c_out, rank, 1, width)))

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The weight as a matrix, (o, x) by (i, y)."""
        c_out, c_in, height, width = weight.shape
        return (weight.transpose(0, 3, 1, 2).reshape(c_out * width, c_in * height),)

    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Begin with the strongest of what k×1 filters can find."""
        c_out, c_in, height, width = weight.shape
        found = directions(self.matrices(weight)[0])

        def at(ranks: Ranks) -> Factors:
            (rank,) = ranks
            down = found[:rank].reshape(rank, c_in, height)
            arrays = (np.zeros((c_out, rank, width)), np.eye(width), down)
            return Factors(("orv", "vx", "riy"), arrays, free=(2,))

        return at

    def weights(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return the parts' weights, first part first."""
        return arrays[2], arrays[0]


@dataclass(frozen=True)
class Fire(Multilinear):
    """A k×k convolution as 1×1, then 1×1 beside k×k, half of the outputs each."""

    name: ClassVar[str] = "fire"
    branches: ClassVar[int] = 2

    def obstacle(self, layer: Layer) -> str | None:
        """Why a layer of the kind cannot be given this form, or None."""
        if any(size % 2 == 0 for size in layer.weight_shape[2:]):
            return "an even kernel size has no centre for the pointwise branch"
        if layer.weight_shape[0] == 1:
            return "one output channel cannot be halved"
        if min(_centred_pad(layer)) < 0:
            return "its padding is less than half its kernel, so the branches cannot be aligned"
        return super().obstacle(layer)

    def full_ranks(self, layer: Layer) -> Ranks:
        """All input channels; even they do not give the half of the outputs that sees one place."""
        return (layer.weight_shape[1],)

    def parts(self, layer: Layer, ranks: Ranks) -> tuple[Part, ...]:
        """What the layer becomes at these ranks."""
        (rank,), (c_out, c_in, *kernel) = ranks, layer.weight_shape
        point = Part(
            shape=(c_out // 2, rank, 1, 1), strides=layer.strides, padding=_centred_pad(layer)
        )
        around = as_layer(layer, (c_out - c_out // 2, rank, *kernel))
        return Part(shape=(rank, c_in, 1, 1)), point, around

    def matrices(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """The weight with all else against its input channels."""
        return (weight.transpose(0, 2, 3, 1).reshape(-1, weight.shape[1]),)

    def start(self, weight: np.ndarray) -> Callable[[Ranks], Factors]:
        """Begin with the strongest directions of the input's channels."""
        c_out, _, height, width = weight.shape
        found = directions(self.matrices(weight)[0])

        def at(ranks: Ranks) -> Factors:
            (rank,), half = ranks, c_out // 2
            columns = np.arange(rank * height * width).reshape(rank, height, width)
            rows = (
                (slice(0, half), columns[:, height // 2, width // 2]),
                (slice(half, None), columns.ravel()),
            )
            outer = np.zeros((c_out, rank, height, width))
            arrays = (outer, np.eye(height), np.eye(width), found[:rank])
            return Factors(("opuv", "uy", "vx", "pi"), arrays, free=(3,), rows=rows)

        return at

    def weights(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return the parts' weights, first part first."""
        outer, half = arrays[0], len(arrays[0]) // 2
        height, width = outer.shape[2:]
        return arrays[-1], outer[:half, :, height // 2, width // 2], outer[half:]


def down_then_across(layer: Layer, down: Shape, across: Shape, groups: int = 1) -> list[Part]:
    """A k×1 and a 1×k part of these shapes that together move as the layer does."""
    top, left, bottom, right = layer.padding
    strides, dilation = layer.strides, layer.dilation
    return [
        Part(
            shape=down,
            strides=(strides[0], 1),
            padding=(top, 0, bottom, 0),
            dilation=(dilation[0], 1),
            groups=groups,
        ),
        Part(
            shape=across,
            strides=(1, strides[1]),
            padding=(0, left, 0, right),
            dilation=(1, dilation[1]),
            groups=groups,
        ),
    ]


def _centred_pad(layer: Layer) -> tuple[int, ...]:
    """The padding with which 1×1 looks where the middle of the kernel does."""
    inside = [d * (k // 2) for d, k in zip(layer.dilation, layer.weight_shape[2:], strict=True)]
    return tuple(pad - cut for pad, cut in zip(layer.padding, inside * 2, strict=True))
