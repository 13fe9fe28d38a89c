"""One operator of a torch program while it is imported, and how its arguments are read.

A converter is a function of an `OperatorCall` and of the arguments that it honours, under the
names of the operator's schema (``self`` is ``x``). So an argument cannot be ignored by mistake:
`bind` refuses any other that is not at its default, unless the converter's entry in the table
names it as harmless.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import fx
from tvm import relax
from tvm.ir import GenericConst

from ...ir.edit import shape_of

Converter = Callable[..., Any]

HARMLESS = frozenset(
    {
        *("layout", "device", "pin_memory", "memory_format", "non_blocking", "copy"),
        *("implicit",),  # expand's, for autograd alone
    }
)
"""Arguments that say where and how a tensor lies in memory, not what it holds."""


@dataclass(frozen=True)
class Entry:
    """A converter, and the arguments beside HARMLESS that change nothing in a network that runs."""

    convert: Converter
    harmless: frozenset[str] = field(default=frozenset())

    @cached_property
    def honoured(self) -> frozenset[str]:
        """The schema's names of what the converter takes."""
        names = list(inspect.signature(self.convert).parameters)[1:]
        return frozenset("self" if name == "x" else name for name in names)


class OperatorCall:
    """A node of the program: where its operators are emitted, and what torch says it gives."""

    def __init__(self, builder: relax.BlockBuilder, node: fx.Node):
        self._builder = builder
        self.name = str(node.target)
        self.results = _results(node)
        self.complex_arguments = tuple(is_complex(arg) for arg in node.args)
        self._node = node

    @property
    def dtype(self) -> str:
        """The type of the (first) result, as Relax names it."""
        return dtype_name(self.results[0].dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the (first) result."""
        return tuple(self.results[0].shape)

    def reads_result(self, index: int) -> bool:
        """Whether something reads one of several results."""
        return any(user.args[1:] == (index,) for user in self._node.users)

    def emit(self, operator: Callable[..., relax.Expr], *args: Any, **settings: Any) -> relax.Expr:
        """Emit one operator and bind its result."""
        return self._builder.emit(operator(*args, **settings))

    def cast(self, value: relax.Expr | float, dtype: str | None = None) -> relax.Expr:
        """Give a tensor or a number in a type, by default the result's."""
        dtype = self.dtype if dtype is None else dtype
        if not isinstance(value, relax.Expr):
            return relax.const(np.asarray(value).astype(dtype), dtype)
        if str(value.ty.dtype) == dtype:
            return value
        known = constant(value)
        if known is not None:
            return relax.const(known.astype(dtype), dtype)
        if dtype == "bool":
            zero = relax.const(0, str(value.ty.dtype))
            return self.emit(relax.op.not_equal, value, zero)
        return self.emit(relax.op.astype, value, dtype)

    def reshape(self, x: relax.Expr, shape: Sequence[int]) -> relax.Expr:
        """Reshape, where the shape differs."""
        if shape_of(x) == tuple(shape):
            return x
        known = constant(x)
        if known is not None:
            return relax.const(known.reshape(shape), str(known.dtype))
        return self.emit(relax.op.reshape, x, tuple(shape))

    def permute(self, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
        """Reorder the axes, where the order differs."""
        if list(axes) == sorted(axes):
            return x
        return self.emit(relax.op.permute_dims, x, list(axes))

    def broadcast(self, x: relax.Expr, shape: Sequence[int]) -> relax.Expr:
        """Broadcast, where the shape differs."""
        known = constant(x)
        if shape_of(x) == tuple(shape):
            return x
        if known is not None:
            return relax.const(np.broadcast_to(known, shape).copy(), str(known.dtype))
        return self.emit(relax.op.broadcast_to, x, tuple(shape))


def _results(node: fx.Node) -> list[Any]:
    value = node.meta.get("val")
    return list(value) if isinstance(value, tuple | list) else [value]


def is_complex(value: Any) -> bool:
    """Whether a node gives complex numbers, or one of its results is such."""
    if not isinstance(value, fx.Node):
        return False
    return any(isinstance(part, torch.Tensor) and part.is_complex() for part in _results(value))


def arguments_of(operator: Any) -> Sequence[Any]:
    """Read the arguments that an operator of ATen declares."""
    return operator._schema.arguments


def bind(node: fx.Node, entry: Entry, read: Callable[[Any], Any]) -> dict[str, Any]:
    """Give every argument that the converter honours; raise ValueError where another is set."""
    arguments = {}
    declared = arguments_of(node.target)
    given = dict(zip((a.name for a in declared), node.args, strict=False)) | node.kwargs
    for argument in declared:
        name = argument.name
        value = given.get(name, argument.default_value)
        if name in entry.honoured:
            arguments["x" if name == "self" else name] = fx.map_arg(value, read)
        elif name in HARMLESS | entry.harmless or value == argument.default_value:
            continue
        else:
            raise ValueError(f"its argument {name} = {value} is not supported")
    return arguments


def constant(x: Any) -> np.ndarray | None:
    """Give the value of a constant, None of what is computed or a weight."""
    return x.value.numpy() if isinstance(x, GenericConst) else None


def constants(parts: Sequence[Any]) -> list[np.ndarray] | None:
    """Give the values of all, None where one is no constant."""
    known = [part.value.numpy() for part in parts if isinstance(part, GenericConst)]
    return known if len(known) == len(parts) else None


NARROW_FLOATS = (torch.float16, torch.bfloat16)
"""What is computed in float32."""


def dtype_name(dtype: torch.dtype) -> str:
    """Name the type in which it is computed here.

    ``float32`` for torch.float32 and narrower; of complex numbers, that of each part.
    """
    if dtype.is_complex:
        return own_name(dtype.to_real())
    return "float32" if dtype in NARROW_FLOATS else own_name(dtype)


def own_name(dtype: torch.dtype) -> str:
    """``float16`` for torch.float16."""
    return str(dtype).removeprefix("torch.")


def axis_of(dim: int, rank: int) -> int:
    """Count an axis from the front; a number has one, as torch has it."""
    return dim % max(rank, 1)


def axes_of(dim: int | Sequence[int] | None, rank: int) -> list[int]:
    """Count axes from the front; None and no axis mean all."""
    dims = [dim] if isinstance(dim, int) else list(dim or range(rank))
    return [axis_of(d, rank) for d in dims] if rank else []


def promoted(x: Any, other: Any) -> str:
    """Name the type in which torch compares two tensors, or a tensor and a number."""
    left, right = (_sample(value) for value in (x, other))
    return dtype_name(torch.result_type(left, right))


def _sample(value: Any) -> Any:
    if not isinstance(value, relax.Expr):
        return value
    return torch.empty((1,) * value.ty.ndim, dtype=getattr(torch, str(value.ty.dtype)))
