"""A transposed convolution as a convolution of stride 1 whose output channels are its phases.

With stride s, output s·q + r − crop is a sum over the taps t ≡ r (mod s) alone: phase r is a
convolution of its own, by every s-th tap of the kernel, turned round. One convolution gives all
phases of position q as channels; then they are put side by side. Where the stride does not divide
the kernel, the last phases have a tap less: they may be convolutions apart, or have a tap of zeros.

Source  W. Shi et al., Is the deconvolution layer the same as a convolutional layer?,
        arXiv:1609.07009, section 2
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from tvm import te, tirx


@dataclass(frozen=True)
class Run:
    """The `count` phases from `first` on, of the same taps: all but the `unused` first."""

    first: int
    count: int
    unused: int = 0


@dataclass(frozen=True, kw_only=True)
class Phases:
    """One axis: how the convolution moves along it, and how its results are put side by side.

    Output o is phase (o + crop) mod `count` of position (o + crop) div `count`. The convolution has
    `taps`, pads `start` and `end`; with one phase it keeps the dilation, else zeros stand for it.
    The first `full` phases have all taps.
    """

    count: int
    full: int
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
            full=(reach + 1) % stride or stride,
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

    @property
    def whole(self) -> tuple[Run, ...]:
        """All phases, by as many taps each."""
        return (Run(0, self.count),)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The phases, each by the taps that it has, where that can be told apart by padding."""
        if self.full == self.count or self.taps == 1 or self.start == 0:
            return self.whole
        return Run(0, self.full), Run(self.full, self.count - self.full, 1)


def phase_weight(
    weight: np.ndarray, groups: int, axes: tuple[Phases, ...], runs: tuple[Run, ...]
) -> np.ndarray:
    """The weight (groups · phases · c_out / groups, c_in / groups, *taps) of one run of each axis.

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
    turned = np.flip(parted, taps).transpose(0, *range(4, parted.ndim, 2), 2, 1, *taps)
    chosen = [slice(run.first, run.first + run.count) for run in runs]
    used = [slice(run.unused, None) for run in runs]
    whole = slice(None)
    found = turned[(whole, *chosen, whole, whole, *used)]
    return found.reshape(-1, into // groups, *found.shape[-len(axes) :])


def side_by_side(
    *sums: te.Tensor,
    axes: tuple[Phases, ...],
    runs: tuple[tuple[Run, ...], ...],
    rows: int,
    per_group: int,
):
    """Put the phases of images (n, rows, w, groups · phases · per_group) side by side.

    There is one image for the run of each axis in each of `runs`. `rows` are the convolutions' in
    each frame; an image of one row, or without frames, is one.
    """
    missing = 3 - len(axes)
    time, down, across = (*(_ONE,) * missing, *axes)
    n, channels = int(sums[0].shape[0]), int(sums[0].shape[3]) // phase_count(runs[0])
    padded = [((Run(0, 1),) * missing) + each for each in runs]

    def one(b, i, j, c):
        frame = i // down.outputs + time.crop
        row, column = i % down.outputs + down.crop, j + across.crop
        places = ((frame, time), (row, down), (column, across))
        at = frame // time.count * rows + row // down.count
        value = None
        for image, run in zip(sums, padded, strict=True):
            phase, inside = 0, []
            for (place, axis), part in zip(places, run, strict=True):
                own = place % axis.count
                inside.append(tirx.all(own >= part.first, own < part.first + part.count))
                phase = phase * part.count + own - part.first
            channel = (c // per_group * phase_count(run) + phase) * per_group + c % per_group
            read = image[b, at, column // across.count, channel]
            value = read if value is None else tirx.if_then_else(tirx.all(*inside), read, value)
        return value

    shape = (n, time.outputs * down.outputs, across.outputs, channels)
    return te.compute(shape, one, name="side_by_side")


_ONE = Phases(count=1, full=1, taps=1, dilation=1, spacing=1, start=0, end=0, crop=0, outputs=1)


def phase_count(runs: tuple[Run, ...]) -> int:
    """How many phases there are."""
    return prod(run.count for run in runs)


def wasted_macs_count(axes: tuple[Phases, ...], products: int) -> int:
    """Multiply-adds by zeros, `products` for each tap of each phase of a position."""
    positions = prod(axis.positions for axis in axes)
    done = prod(axis.count * axis.taps for axis in axes)
    needed = prod(sum(run.count * (axis.taps - run.unused) for run in axis.runs) for axis in axes)
    return positions * products * (done - needed)
