"""Between an app's arrays and the runtime's tensors: checked, aligned, copied only where needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .ffi import Tensor, tvm_ffi
from .manifest import TensorSpec
from .weights import ALIGNMENT_BYTES, Array, aligned_copy


def bind(
    specs: Sequence[TensorSpec], positional: Sequence[Any], named: Mapping[str, Any]
) -> list[Any]:
    """Return the values in the order of `specs`: by position first, the rest by name.

    Raises:
        InputError: too few, too many, or a name that the network does not have.

    """
    if not named and len(positional) == len(specs):
        return list(positional)
    names = [spec.name for spec in specs]
    rest = names[len(positional) :]
    if len(positional) > len(names) or set(rest) != set(named):
        given = [*names[: len(positional)], *named]
        raise InputError(f"{len(positional)} by position and {given} given; {_takes(specs)}")
    return [*positional, *(named[name] for name in rest)]


def checked_array(spec: TensorSpec, value: Any, specs: Sequence[TensorSpec]) -> Array:
    """Return `value` if it is a NumPy array of the spec's shape and type, else InputError.

    A scalar of NumPy, as an index into an array gives it, is an array of no axes.
    """
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise InputError(f"{spec.name} is a {type(value).__name__}, not an array; {_takes(specs)}")
    if value.shape != spec.shape or value.dtype != spec.dtype:
        raise InputError(f"{spec.name} is {value.dtype} {value.shape}; {_takes(specs)}")
    return value


def to_tensor(array: Array) -> Tensor:
    """Return the array as a tensor: the same memory where TVM can use it, else an aligned copy."""
    flags = array.flags
    usable = flags.c_contiguous and flags.writeable
    if not usable or array.ctypes.data % ALIGNMENT_BYTES:
        array = aligned_copy(array)
    return tvm_ffi.from_dlpack(array)


def borrowed_tensor(spec: TensorSpec, value: Any, specs: Sequence[TensorSpec]) -> Tensor:
    """Return any object with `__dlpack__` as a tensor over the same memory, never a copy.

    Raises:
        InputError: it is not contiguous, not aligned, or not what the network takes.

    """
    try:
        tensor = tvm_ffi.from_dlpack(
            value, require_alignment=ALIGNMENT_BYTES, require_contiguous=True
        )
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{spec.name} cannot be shared without a copy: {reason}") from error
    if tuple(tensor.shape) != spec.shape or str(tensor.dtype) != spec.dtype:
        raise InputError(f"{spec.name} is {tensor.dtype} {tensor.shape}; {_takes(specs)}")
    return tensor


def _takes(specs: Sequence[TensorSpec]) -> str:
    listed = ", ".join(f"{spec.name}: {spec.dtype} {spec.shape}" for spec in specs)
    return f"the network takes {listed}"
