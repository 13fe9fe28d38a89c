"""How a convolution moves over an image (n, h, w, c), or over frames of one (n, d·h, w, c).

Frames lie one below the other. So a kernel of three axes is one of kd·kh rows, whose row r is
r mod kh of the frame r div kh on; and an output row is one of an output frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import te, tirx


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The third axis of a convolution: along d. `places` are d and h of the input.

    `kernel` is (kd, kh), padding (front, back) in frames.
    """

    places: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    dilation: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """A convolution's geometry. Padding is (top, left, bottom, right), in pixels of each frame."""

    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    frames: Frames | None = None

    def output_size(self, x: te.Tensor, kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output for an input (n, h, w, c)."""
        _, height, width, _ = (int(extent) for extent in x.shape)
        if self.frames is None:
            return self._along(0, height, kernel[0]), self._along(1, width, kernel[1])
        frames = self.frames
        rows = self._along(0, frames.places[1], frames.kernel[1])
        reach = frames.dilation * (frames.kernel[0] - 1) + 1
        count = (frames.places[0] + sum(frames.padding) - reach) // frames.stride + 1
        return count * rows, self._along(1, width, kernel[1])

    def _along(self, axis: int, extent: int, kernel: int) -> int:
        reach = self.dilation[axis] * (kernel - 1) + 1
        around = self.padding[axis] + self.padding[axis + 2]
        return (extent + around - reach) // self.strides[axis] + 1

    @property
    def pads(self) -> bool:
        """Whether anything is put around the input."""
        return any(self.padding) or (self.frames is not None and any(self.frames.padding))

    def row(self, h: tirx.Var, rh: tirx.Var):
        """The row of the padded input that output row h reads by row rh of the kernel."""
        if self.frames is None:
            return h * self.strides[0] + rh * self.dilation[0]
        frames = self.frames
        (_, height), (_, kh) = frames.places, frames.kernel
        rows, padded = self._along(0, height, kh), height + self.padding[0] + self.padding[2]
        frame = h // rows * frames.stride + rh // kh * frames.dilation
        return frame * padded + h % rows * self.strides[0] + rh % kh * self.dilation[0]
