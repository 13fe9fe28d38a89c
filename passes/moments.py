"""Second moments of what goes into and comes out of a layer, over sampled positions.

A layer computes y = W x + b at every position, for each of its groups: x has `features`
(c_in / groups * the kernel's places, or k), y has c_out / groups outputs. A transposed convolution
does so over its input with zeros between the values, by its kernel turned round. All that fitting a
layer to calibration data needs is in the moments of x and y; no activation is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ir.layers import Layer

IMAGES_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over positions: x (G, F), y (G, O), x xᵀ (G, F, F), x yᵀ (G, F, O), y² (G, O)."""

    count: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    def centre(self) -> Moments:
        """Return the moments about the means: covariances."""
        return Moments(
            count=self.count,
            x=np.zeros_like(self.x),
            y=np.zeros_like(self.y),
            xx=self.xx - self.x[:, :, None] * self.x[:, None, :],
            xy=self.xy - self.x[:, :, None] * self.y[:, None, :],
            yy=np.maximum(self.yy - np.square(self.y), 0.0),
        )

    def squared_error(self, weight: np.ndarray, bias: np.ndarray) -> float:
        """Return the mean of |y - W x - b|², W (G, O, F), b (G, O), summed over outputs."""
        about = self.centre()
        cross = np.einsum("gof,gfo->", weight, about.xy, optimize=True)
        power = np.sum((weight @ about.xx) * weight)
        shift = self.y - np.einsum("gof,gf->go", weight, self.x) - bias
        return max(float(about.yy.sum() - 2 * cross + power + np.square(shift).sum()), 0.0)


def positions(layer: Layer, runs: int) -> np.ndarray:
    """Choose where to look, repeatably: (images, places per image), or (1, rows) for dense."""
    random = np.random.default_rng(0)
    features = layer.features
    wanted = 8 * features if features <= 1024 else max(8192, 2 * features)
    if layer.kind == "dense":
        rows = runs * int(np.prod(layer.output_shape[:-1]))
        return np.sort(random.permutation(rows)[: max(wanted, 4096)])[None]
    images, places = runs * layer.output_shape[0], int(np.prod(layer.output_shape[2:]))
    per_image = -(-max(wanted, 4096) // images)
    if per_image >= places:
        return np.tile(np.arange(places), (images, 1))
    return random.integers(0, places, (images, per_image))


def output_rows(layer: Layer, y: Tensor, at: np.ndarray) -> Tensor:
    """Pick a layer's outputs (P, c_out) from its mapped value (S, *output shape)."""
    if layer.kind == "dense":
        return y.reshape(-1, y.shape[-1])[torch.from_numpy(at[0])]
    images = y.flatten(0, 1).flatten(2)
    return _gather(images, torch.from_numpy(at))


def input_rows(layer: Layer, x: Tensor, at: np.ndarray) -> Iterator[Tensor]:
    """Pick what a layer reads for those outputs: pieces of (p, groups, features)."""
    index = torch.from_numpy(at)
    if layer.kind == "dense":
        rows = x.reshape(-1, x.shape[-1])
        for piece in index[0].split(4096):
            yield rows[piece][:, None, :]
        return
    images = _padded(layer, x.flatten(0, 1))
    for piece, where in zip(images.split(IMAGES_AT_ONCE), index.split(IMAGES_AT_ONCE), strict=True):
        image = torch.arange(len(piece))[:, None]
        places = torch.unravel_index(where, layer.output_shape[2:])
        rows = _windows(layer, piece)[(image, slice(None), *places)]
        yield rows.reshape(where.numel(), layer.groups, -1)


def _padded(layer: Layer, images: Tensor) -> Tensor:
    """Give images (count, channels, *places) over which a layer's window moves as they are."""
    starts, ends = np.split(np.array(layer.padding), 2)
    if layer.spreads:
        places = [(n - 1) * s + 1 for n, s in zip(images.shape[2:], layer.strides, strict=True)]
        spread = images.new_zeros(*images.shape[:2], *places)
        spread[(..., *(slice(None, None, step) for step in layer.strides))] = images
        reach = (np.array(layer.weight_shape[2:]) - 1) * layer.dilation
        images, starts, ends = spread, reach - starts, reach - ends + layer.output_padding
    pairs = [int(side) for pair in zip(starts, ends, strict=True) for side in pair[::-1]]
    return F.pad(images, pairs[::-1]).contiguous()


def _windows(layer: Layer, images: Tensor) -> Tensor:
    """View padded images as (images, channels, *places, *kernel), without a copy."""
    count, channels = images.shape[:2]
    by_image, by_channel, *by_place = images.stride()
    strides = (1,) * len(by_place) if layer.spreads else layer.strides
    shape = (count, channels, *layer.output_shape[2:], *layer.weight_shape[2:])
    inside = [one * step for one, step in zip(by_place, layer.dilation, strict=True)]
    outside = [one * step for one, step in zip(by_place, strides, strict=True)]
    return images.as_strided(
        shape, (by_image, by_channel, *outside, *inside), images.storage_offset()
    )


def moments(layer: Layer, x: Tensor, at: np.ndarray, target: Tensor) -> tuple[Moments, Moments]:
    """Gather the moments of a layer's input x (S, *shape) and a wanted output (P, c_out).

    They come in two parts, of three quarters and one quarter of the positions, so that what is
    fitted to the one can be tried on the other.
    """
    sums: list[list[Tensor]] = [[], []]
    counts, done = [0, 0], 0
    for rows in input_rows(layer, x, at):
        y = target[done : done + len(rows)].reshape(len(rows), layer.groups, -1)
        done += len(rows)
        cut = len(rows) // 4
        for part, which in enumerate((slice(cut, None), slice(0, cut))):
            new = _sums(rows[which].double(), y[which].double())
            counts[part] += len(rows[which])
            old = sums[part]
            sums[part] = [a + b for a, b in zip(old, new, strict=True)] if old else new
    most, rest = (
        Moments(count, *[(total / max(count, 1)).numpy() for total in totals])
        for count, totals in zip(counts, sums, strict=True)
    )
    return most, rest


def merge(first: Moments, second: Moments) -> Moments:
    """Return the moments over the positions of both."""
    count = first.count + second.count
    share = second.count / count

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (1 - share) * a + share * b

    return Moments(
        count,
        mean(first.x, second.x),
        mean(first.y, second.y),
        mean(first.xx, second.xx),
        mean(first.xy, second.xy),
        mean(first.yy, second.yy),
    )


def _sums(x: Tensor, y: Tensor) -> list[Tensor]:
    """Sum over positions: x (P, G, F), y (P, G, O)."""
    x, y = x.permute(1, 0, 2), y.permute(1, 0, 2)
    flipped = x.transpose(1, 2)
    return [x.sum(1), y.sum(1), flipped @ x, flipped @ y, y.square().sum(1)]


def grouped_weight(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Shape a layer's weight as (G, O, F) in float64."""
    if layer.kind == "dense":
        flat = weight if layer.transposed else weight.T
        return flat[None].astype(np.float64)
    groups = layer.groups
    if layer.spreads:
        grouped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        weight = np.flip(grouped, tuple(range(3, grouped.ndim)))
    return weight.reshape(groups, layer.outputs // groups, -1).astype(np.float64)


def in_layer_shape(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Undo `grouped_weight`: shape values (G, O, F) as the layer has its weight."""
    if layer.kind == "dense":
        return np.ascontiguousarray(values[0] if layer.transposed else values[0].T)
    if layer.spreads:
        kernel = layer.weight_shape[2:]
        grouped = values.reshape(*values.shape[:2], -1, *kernel)
        values = np.flip(grouped, tuple(range(3, grouped.ndim))).swapaxes(1, 2)
    return np.ascontiguousarray(values.reshape(layer.weight_shape))


def layer_weight(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Undo `grouped_weight`, in float32."""
    return in_layer_shape(layer, weight).astype(np.float32)


def _gather(values: Tensor, at: Tensor) -> Tensor:
    """Gather (images, channels, places) at (images, n) into rows (images * n, channels)."""
    index = at[:, None, :].expand(-1, values.shape[1], -1)
    return values.gather(2, index).permute(0, 2, 1).flatten(0, 1)
