"""What a value of the network has become while it is lowered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tvm import relax


@dataclass(frozen=True)
class Dynamic:
    """An activation; `channels_last` where it is kept as an image (`layout.py`)."""

    expr: relax.Expr
    channels_last: bool = False


@dataclass(frozen=True)
class Quantized:
    """An activation in 8 bits: it stands for (quantized − zero_point) · scale.

    The scale is a number, or a value () that is computed in every run.
    The network's quantized values have type `dtype`; what is kept is `offset` more, in the type of
    the board's integer kernels, and so is `zero_point`.
    """

    expr: relax.Expr
    channels_last: bool
    scale: float | relax.Expr
    zero_point: int
    dtype: str
    offset: int

    def stands_for(self, scale: float | relax.Expr, zero_point: int, dtype: str) -> bool:
        """Whether quantizing by these would give these very values again."""
        if isinstance(self.scale, float) != isinstance(scale, float):
            return False
        same = self.scale == scale if isinstance(scale, float) else scale.same_as(self.scale)
        return same and (self.zero_point, self.dtype) == (zero_point, dtype)


@dataclass(frozen=True)
class SixteenBitValue:
    """An activation rounded to `dtype`, of 16 bits, kept as kernels store it."""

    expr: relax.Expr
    channels_last: bool
    dtype: str


@dataclass(frozen=True)
class Dequantized:
    """What a low-precision activation stands for, computed only where it is read as floats."""

    source: Quantized | SixteenBitValue

    @property
    def expr(self) -> relax.Expr:
        """What is stored; it has the shape of the floats."""
        return self.source.expr

    @property
    def channels_last(self) -> bool:
        """The layout of what is stored, which the floats keep."""
        return self.source.channels_last


@dataclass(frozen=True)
class Static:
    """A weight, known at build time; with a `scale` for each channel of `scale_axis` if int8.

    What is stored in 16 bits has a scale too: 1. Where `group_size` features of a
    channel share one, there is a scale for each number of `array`. Its values fit `bits`.
    """

    array: np.ndarray
    name: str
    scale: np.ndarray | None = None
    scale_axis: int = 0
    group_size: int | None = None
    bits: int = 8

    def transposed(self, order: Sequence[int] | None) -> Static:
        """The weight with its axes permuted (reversed where no order is given)."""
        axes = list(order) if order is not None else list(range(self.array.ndim))[::-1]
        axes = [axis % self.array.ndim for axis in axes]
        array, scale = np.transpose(self.array, axes), self.scale
        if scale is not None and self.group_size:
            scale = np.transpose(scale, axes)
        return replace(self, array=array, scale=scale, scale_axis=axes.index(self.scale_axis))

    def as_image(self) -> Static:
        """A convolution's weight (c_out, c_in / groups, *kernel) as one over an image.

        A kernel of one axis has one row; of three, the rows of its frames, one below the other.
        """
        out, into, *kernel = self.array.shape
        shape = (out, into, math.prod(kernel[:-1]), kernel[-1])
        scale = self.scale
        if scale is not None and self.group_size:
            scale = scale.reshape(shape)
        return replace(self, array=self.array.reshape(shape), scale=scale)

    def scaled_along(self, axis: int) -> bool:
        """Whether this is of low precision, with one scale or one for each index of `axis`."""
        if self.scale is None or self.group_size:
            return False
        return self.scale.size == 1 or self.scale_axis == axis

    def group_scales(self) -> np.ndarray:
        """The scales (channels, groups) of what has a scale for each group of features."""
        assert self.scale is not None
        rows = np.moveaxis(self.scale, self.scale_axis, 0)
        return rows.reshape(len(rows), -1)[:, :: self.group_size]

    def as_float(self) -> Static:
        """The weight as floats."""
        if self.scale is None:
            return self
        scale = self.scale
        if not self.group_size:
            shape = [1] * self.array.ndim
            shape[self.scale_axis] = -1
            scale = scale.reshape(shape)
        return Static((self.array * scale).astype(np.float32), self.name)


@dataclass(frozen=True)
class Fields:
    """What became of each field of a tuple."""

    values: tuple[Value, ...]


Value = Dynamic | Quantized | SixteenBitValue | Dequantized | Static | Fields


@dataclass
class LoweredWeights:
    """The weight arguments of the lowered function, made as the walk meets them."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    by_name: dict[str, relax.Var] = field(default_factory=dict)

    @property
    def vars(self) -> list[relax.Var]:
        """The arguments, in order."""
        return list(self.by_name.values())

    def var(self, name: str, array: np.ndarray) -> relax.Var:
        """The argument for `array`; the same one where it was asked for before."""
        unique, count = name, 1
        while unique in self.arrays:
            if _equal(self.arrays[unique], array):
                return self.by_name[unique]
            count += 1
            unique = f"{name}#{count}"
        self.arrays[unique] = np.asarray(array, order="C")
        legal = "".join(c if c.isalnum() else "_" for c in unique)
        self.by_name[unique] = relax.Var(
            f"w_{legal}", relax.TensorType(array.shape, str(array.dtype))
        )
        return self.by_name[unique]


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)
