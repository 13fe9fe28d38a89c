"""The reference meaning of convolutions, pooling and padding, in torch (see TABLE)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .attributes import ints

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_TRANSPOSED = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
_MAX_POOLS = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
_AVG_POOLS = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}
_ADAPTIVE_POOLS = {
    3: F.adaptive_avg_pool1d,
    4: F.adaptive_avg_pool2d,
    5: F.adaptive_avg_pool3d,
}
_IMAGES = ("NCW", "NCHW", "NCDHW")
_FILTERS = ("OIW", "OIHW", "OIDHW")
_TRANSPOSED_FILTERS = ("IOW", "IOHW", "IODHW")


def _pad_spatial(x: Tensor, padding: Sequence[int], value: float) -> Tensor:
    """Pad the trailing axes by TVM's padding: all the starts, then all the ends."""
    half = len(padding) // 2
    pairs = [p for i in reversed(range(half)) for p in (padding[i], padding[half + i])]
    return F.pad(x, pairs, value=value) if any(pairs) else x


def conv(attrs: Any, x: Tensor, weight: Tensor) -> Tensor | None:
    """Convolve in one, two or three dimensions."""
    if attrs.data_layout not in _IMAGES or attrs.kernel_layout not in _FILTERS:
        return None
    padding, half = ints(attrs.padding), len(attrs.padding) // 2
    if padding[:half] != padding[half:]:
        x, padding = _pad_spatial(x, padding, 0.0), (0,) * len(padding)
    return _CONVOLUTIONS[x.ndim](
        x,
        weight,
        None,
        ints(attrs.strides),
        padding[:half],
        ints(attrs.dilation),
        int(attrs.groups),
    )


def conv_transpose(attrs: Any, x: Tensor, weight: Tensor) -> Tensor | None:
    """Convolve transposed; padding is cut off, output padding is added at the ends."""
    if attrs.data_layout not in _IMAGES or attrs.kernel_layout not in _TRANSPOSED_FILTERS:
        return None
    whole = _TRANSPOSED[x.ndim](
        x, weight, None, ints(attrs.strides), 0, 0, int(attrs.groups), ints(attrs.dilation)
    )
    padding, half = ints(attrs.padding), len(attrs.padding) // 2
    ends = zip(ints(attrs.output_padding), padding[half:], strict=True)
    cuts = [-start for start in padding[:half]] + [more - cut for more, cut in ends]
    return _pad_spatial(whole, cuts, 0.0)


def max_pool(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the largest of each window."""
    if attrs.layout not in _IMAGES or not x.is_floating_point():
        return None
    x = _pad_spatial(x, _padding_to_the_last_window(attrs, x), float("-inf"))
    size, stride = ints(attrs.pool_size), ints(attrs.strides)
    return _MAX_POOLS[x.ndim](x, size, stride, 0, ints(attrs.dilation))


def avg_pool(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the mean of each window, padding counted or not; what is past the padding never is."""
    if attrs.layout not in _IMAGES or set(ints(attrs.dilation)) != {1}:
        return None
    pool, size, stride = _AVG_POOLS[x.ndim], ints(attrs.pool_size), ints(attrs.strides)
    padding, whole = ints(attrs.padding), _padding_to_the_last_window(attrs, x)
    y = pool(_pad_spatial(x, whole, 0.0), size, stride)
    if not any(whole):
        return y
    counted = x.new_ones(1, 1, *x.shape[2:])
    if attrs.count_include_pad:
        counted = _pad_spatial(counted, padding, 1.0)
        whole = [more - fewer for more, fewer in zip(whole, padding, strict=True)]
    return y / pool(_pad_spatial(counted, whole, 0.0), size, stride)


def _padding_to_the_last_window(attrs: Any, x: Tensor) -> list[int]:
    """The padding, with as much more at the ends as the last windows reach over."""
    padding, half = list(ints(attrs.padding)), len(attrs.padding) // 2
    sizes = zip(
        ints(attrs.pool_size), ints(attrs.strides), ints(attrs.dilation), x.shape[2:], strict=True
    )
    for axis, (size, stride, dilation, extent) in enumerate(sizes if attrs.ceil_mode else ()):
        rest = extent + padding[axis] + padding[half + axis] - dilation * (size - 1) - 1
        padding[half + axis] += -rest % stride
    return padding


def adaptive_avg_pool(attrs: Any, x: Tensor) -> Tensor | None:
    """Take the means of as many windows as the output has."""
    if attrs.layout not in _IMAGES:
        return None
    size = x.shape[2:] if attrs.output_size is None else ints(attrs.output_size)
    return _ADAPTIVE_POOLS[x.ndim](x, size)


def pad(attrs: Any, x: Tensor) -> Tensor | None:
    """Pad with a constant, or with values of the edge, the mirror image or the other end."""
    width = ints(attrs.pad_width)
    if attrs.pad_mode == "constant":
        pairs = [p for i in reversed(range(x.ndim)) for p in width[2 * i : 2 * i + 2]]
        return F.pad(x, pairs, value=attrs.pad_value)
    if attrs.pad_mode not in _SOURCES:
        return None
    for axis in range(x.ndim):
        before, after = width[2 * axis : 2 * axis + 2]
        if before or after:
            places = torch.arange(-before, x.shape[axis] + after, device=x.device)
            x = x.index_select(axis, _SOURCES[attrs.pad_mode](places, x.shape[axis]))
    return x


def _mirrored(places: Tensor, extent: int) -> Tensor:
    period = max(2 * (extent - 1), 1)
    within = places % period
    return torch.minimum(within, period - within) if extent > 1 else within * 0


_SOURCES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": _mirrored,
    "replicate": lambda places, extent: places.clamp(0, extent - 1),
    "circular": lambda places, extent: places % extent,
}
