"""Between an app's arrays and the runtime's tensors: checked, aligned, copied only where needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .manifest import Signature, TensorSpec
from .native.ffi import Tensor, tvm_ffi
from .weights import ALIGNMENT_BYTES, Array, aligned_copy

CPU = (1, 0)
DEVICES = {"cpu": CPU, "cuda": (2, 0), "opencl": (4, 0)}
"""DLPack's type, and number, of the device that a board computes on."""

_POOLED = 2  # TVM's AllocatorType::kPooled

Calls = Sequence[tuple[Callable[..., Any], Any]]


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
        raise InputError(
            f"{len(positional)} by position and {given} given; the network takes {listed(specs)}"
        )
    return [*positional, *(named[name] for name in rest)]


def checked_array(spec: TensorSpec, value: Any, known: Sequence[Signature]) -> Array:
    """Return `value` if it is a NumPy array of the spec's shape and type, else InputError.

    A scalar of NumPy, as an index into an array gives it, is an array of no axes. `known` are the
    shapes that the error names.
    """
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise InputError(f"{spec.name} is a {type(value).__name__}, not an array; {takes(known)}")
    if value.shape != spec.shape or value.dtype != spec.dtype:
        raise _misfit(spec, str(value.dtype), value.shape, known)
    return value


def machine_words(device: tuple[int, int]) -> tuple[int, ...]:
    """What a virtual machine is initialised with: its devices, a CPU among them, and allocators."""
    devices = (device,) if device == CPU else (device, CPU)
    return tuple(word for each in devices for word in (*each, _POOLED))


def run_on(device: tuple[int, int], calls: Calls, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Do what `run_in_turn` does with tensors of the host, there and back where it is no CPU."""
    if device == CPU:
        return run_in_turn(calls, inputs)
    outputs = run_in_turn(calls, [copy_to(tensor, device) for tensor in inputs])
    return [copy_to(tensor, CPU) for tensor in outputs]


def copy_to(tensor: Tensor, device: tuple[int, int]) -> Tensor:
    """Copy a tensor to a (type, index) device."""
    allocate = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")
    copy = allocate(tvm_ffi.Shape(tensor.shape), tensor.dtype, tvm_ffi.device(*device), None)
    tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")(tensor, copy)
    # the copy is queued; it must be done before the app reads the result or frees the source
    wait_for(device if device != CPU else tuple(tensor.__dlpack_device__()))
    return copy


def wait_for(device: tuple[int, int]) -> None:
    """Wait until a (type, index) device has done what was queued."""
    if device != CPU:
        tvm_ffi.get_global_func("runtime.Device_StreamSync")(tvm_ffi.device(*device), 0)


def to_device(array: Array, device: tuple[int, int]) -> Tensor:
    """Return the array as a tensor on a (type, index) device."""
    tensor = to_tensor(array)
    return tensor if device == CPU else copy_to(tensor, device)


def run_in_turn(calls: Calls, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Call compiled code, each with its weights, on what the one before gives."""
    for main, weights in calls:
        result = main(*inputs, weights)
        inputs = (result,) if isinstance(result, tvm_ffi.Tensor) else result
    return inputs


def to_tensor(array: Array) -> Tensor:
    """Return the array as a tensor: the same memory where TVM can use it, else an aligned copy."""
    flags = array.flags
    if flags.c_contiguous and flags.writeable:
        tensor = tvm_ffi.from_dlpack(array)
        if tensor.data_ptr() % ALIGNMENT_BYTES == 0:
            return tensor
    return tvm_ffi.from_dlpack(aligned_copy(array))


def borrowed_tensor(name: str, value: Any) -> Tensor:
    """Return any object with `__dlpack__` as a tensor over the same memory, never a copy.

    Raises:
        InputError: it is not contiguous or not aligned.

    """
    try:
        return tvm_ffi.from_dlpack(
            value, require_alignment=ALIGNMENT_BYTES, require_contiguous=True
        )
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} cannot be shared without a copy: {reason}") from error


def check_tensor(spec: TensorSpec, tensor: Tensor, known: Sequence[Signature]) -> None:
    """Refuse a tensor that has not the spec's shape and type: InputError."""
    if tuple(tensor.shape) != spec.shape or str(tensor.dtype) != spec.dtype:
        raise _misfit(spec, str(tensor.dtype), tuple(tensor.shape), known)


def _misfit(
    spec: TensorSpec, dtype: str, shape: tuple[int, ...], known: Sequence[Signature]
) -> InputError:
    """Nothing is converted here: only the app knows how its values are scaled."""
    todo = ""
    if shape == spec.shape:
        todo = f"; convert it, scaled as for training: {spec.name}.astype({spec.dtype!r})"
    return InputError(f"{spec.name} is {dtype} {shape}; {takes(known)}{todo}")


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Give the shape of an array or a tensor; None for anything else."""
    return (
        tuple(value.shape) if isinstance(value, np.ndarray | np.generic | tvm_ffi.Tensor) else None
    )


def describe(name: str, value: Any) -> str:
    """Say what is given for an input: its type and shape, or what it is instead of an array."""
    shape = shape_of(value)
    return f"{name}: {type(value).__name__ if shape is None else f'{value.dtype} {shape}'}"


def takes(known: Sequence[Signature]) -> str:
    """Say which inputs a network takes, at each of its shapes."""
    return f"the network takes {'; or '.join(listed(each.inputs) for each in known)}"


def listed(specs: Sequence[TensorSpec]) -> str:
    """Name tensors with their types and shapes."""
    return ", ".join(f"{spec.name}: {spec.dtype} {spec.shape}" for spec in specs)
