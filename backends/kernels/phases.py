"""A transposed convolution as a convolution of stride 1 whose output channels are its phases.

With stride s, output s·q + r − crop is a sum over the taps t ≡ r (mod s) alone: phase r is a
convolution of its own, by every s-th tap of the kernel, turned round. One convolution gives all
phases of position q as channels; then they are put side by side.

Source  W. Shi et al., Is the deconvolution layer the same as a convolutional layer?,
        arXiv:1609.07009, section 2
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from tvm import te


@dataclass(frozen=True, kw_only=True)
class Phases:
    """One axis: how the convolution moves along it, and how its results are put side by side.

    Output o is phase (o + crop) mod `count` of position (o + crop) div `count`. The convolution has
    `taps`, pads `start` and `end`; with one phase it keeps the dilation, else zeros stand for it.
    """

    count: int
    taps: int
    dilation: int
    spacing: int
    start: int
    end: int
    crop: int
    outputs: int

    @classmethod
    def of(
        cls,
        extent: int,
        kernel: int,
        stride: int,
        dilation: int,
        padding: tuple[int, int],
        more: int,
    ) -> Phases:
        """Those along an axis of `extent` inputs; `more` outputs are added at the end."""
        reach = dilation * (kernel - 1)
        outputs = (extent - 1) * stride + reach + 1 - sum(padding) + more
        taps, dilated, spacing = kernel, dilation, 1
        if stride > 1:
            taps, dilated, spacing = -(-(reach + 1) // stride), 1, dilation
        before = dilated * (taps - 1)
        first = min(padding[0] // stride, before)
        last = (padding[0] + outputs - 1) // stride
        return cls(
            count=stride,
            taps=taps,
            dilation=dilated,
            spacing=spacing,
            start=before - first,
            end=max(0, last - (extent - 1)),
            crop=padding[0] - first * stride,
            outputs=outputs,
        )

    @property
    def positions(self) -> int:
        """How many positions of the convolution are read."""
        return (self.crop + self.outputs - 1) // self.count + 1


def phase_weight(weight: np.ndarray, groups: int, axes: tuple[Phases, ...]) -> np.ndarray:
    """The convolution's weight (groups · phases · c_out / groups, c_in / groups, *taps).

    Of one (c_in, c_out / groups, *kernel).
    """
    into, out, *kernel = weight.shape
    sizes = [axis.taps * axis.count for axis in axes]
    spaced = np.zeros((into, out, *sizes), weight.dtype)
    places = zip(axes, kernel, strict=True)
    taken = [slice(0, axis.spacing * (k - 1) + 1, axis.spacing) for axis, k in places]
    spaced[(slice(None), slice(None), *taken)] = weight
    split = [part for axis in axes for part in (axis.taps, axis.count)]
    parted = spaced.reshape(groups, into // groups, out, *split)
    taps = tuple(range(3, parted.ndim, 2))
    order = (0, *range(4, parted.ndim, 2), 2, 1, *taps)
    return (
        np.flip(parted, taps)
        .transpose(order)
        .reshape(-1, into // groups, *(axis.taps for axis in axes))
    )


def side_by_side(sums: te.Tensor, *, axes: tuple[Phases, ...], rows: int, per_group: int):
    """Put the phases of an image (n, rows, w, groups · phases · per_group) side by side.

    `rows` are the convolution's in each frame; an image of one row, or without frames, is one.
    """
    n, _, _, channels = (int(extent) for extent in sums.shape)
    time, down, across = (*(_ONE,) * (3 - len(axes)), *axes)
    phases = time.count * down.count * across.count

    def one(b, i, j, c):
        frame, row, column = (
            i // down.outputs + time.crop,
            i % down.outputs + down.crop,
            j + across.crop,
        )
        phase = frame % time.count * down.count + row % down.count
        phase = phase * across.count + column % across.count
        channel = (c // per_group * phases + phase) * per_group + c % per_group
        at = frame // time.count * rows + row // down.count
        return sums[b, at, column // across.count, channel]

    shape = (n, time.outputs * down.outputs, across.outputs, channels // phases)
    return te.compute(shape, one, name="side_by_side")


_ONE = Phases(count=1, taps=1, dilation=1, spacing=1, start=0, end=0, crop=0, outputs=1)


def phase_count(axes: tuple[Phases, ...]) -> int:
    """How many phases there are."""
    return prod(axis.count for axis in axes)
