"""Convolutions over one, two or three axes, forwards or transposed: their operators' conventions.

Forwards     weight (c_out, c_in / groups, *kernel)
Transposed   weight (c_in, c_out / groups, *kernel): each input is spread over a window of outputs
"""

from __future__ import annotations

from typing import Any, TypeGuard

from tvm import relax

from .graph import shape_of

FORWARDS = tuple(f"relax.nn.conv{rank}d" for rank in (1, 2, 3))
TRANSPOSED = tuple(f"{name}_transpose" for name in FORWARDS)
_MAKE = {name: getattr(relax.op.nn, name.rpartition(".")[2]) for name in (*FORWARDS, *TRANSPOSED)}


def is_convolution(value: object) -> TypeGuard[relax.Call]:
    """Whether an expression calls a convolution, forwards or transposed."""
    return _name(value) in _MAKE


def is_transposed(value: object) -> bool:
    """Whether an expression calls a transposed convolution."""
    return _name(value) in TRANSPOSED


def _name(value: object) -> str:
    return str(getattr(value.op, "name", "")) if isinstance(value, relax.Call) else ""


def kind_of(call: relax.Call) -> str:
    """Say what a convolution is: "depthwise", "grouped", or its operator's own name."""
    groups, weight = int(call.attrs.groups), shape_of(call.args[1])
    if groups == 1:
        return _name(call).rpartition(".")[2]
    alone = weight[1] == 1 and (groups == weight[0] or not is_transposed(call))
    return "depthwise" if alone else "grouped"


def output_axis(call: relax.Call) -> int | None:
    """The axis of a convolution's weight that counts its outputs, if one does."""
    if not is_transposed(call):
        return 0
    return {"depthwise": 0, "grouped": None}.get(kind_of(call), 1)


def convolve(
    operator: str, x: relax.Expr, weight: relax.Expr, attrs: Any, **changed: Any
) -> relax.Call:
    """Call a convolution with these attributes, but for those that are `changed`."""
    names = ["strides", "padding", "dilation", "groups", "data_layout", "kernel_layout"]
    names += ["out_layout", "out_dtype"] + ["output_padding"] * (operator in TRANSPOSED)
    settings = {name: getattr(attrs, name) for name in names} | changed
    return _MAKE[operator](x, weight, **settings)


def regroup(call: relax.Call, x: relax.Expr, weight: relax.Expr) -> relax.Call:
    """Call the same convolution on as many groups as these channels make."""
    groups = int(call.attrs.groups)
    if is_transposed(call):
        per_group = shape_of(call.args[1])[0] // groups
        left = shape_of(x)[1] // per_group if kind_of(call) == "depthwise" else groups
    else:
        left = shape_of(x)[1] // shape_of(weight)[1]
    return convolve(_name(call), x, weight, call.attrs, groups=left)
