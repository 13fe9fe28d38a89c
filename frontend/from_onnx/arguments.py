"""Inputs of a node that must be constants: axes, sizes, bounds."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

Inputs = MutableSequence[Any]


def given(inputs: Inputs, index: int) -> relax.Expr | None:
    """Return an input, or None where the node leaves it out."""
    return inputs[index] if index < len(inputs) else None


def array(inputs: Inputs, index: int, held: Any) -> np.ndarray | None:
    """Return a constant input's value, or None where the node leaves it out."""
    value = given(inputs, index)
    if value is None:
        return None
    constant = onnx_frontend.get_constant(value, held)
    if isinstance(constant, relax.ShapeExpr):
        return np.array([int(length) for length in constant.values], np.int64)
    if not isinstance(constant, GenericConst):
        raise TypeError(
            f"its input {index} is computed by the network; only constants are supported"
        )
    return constant.value.numpy()


def scalar(inputs: Inputs, index: int, held: Any) -> Any:
    """Return a constant input of one element as a number, or None."""
    value = array(inputs, index, held)
    return None if value is None else value.item()


def integers(inputs: Inputs, index: int, attribute: Any, held: Any) -> list[int] | None:
    """Return integers that older opsets give as an attribute, newer ones as an input."""
    found = array(inputs, index, held) if attribute is None else attribute
    return None if found is None else [int(value) for value in np.ravel(found)]


def like(x: relax.Expr, value: Any) -> relax.Expr:
    """Return a constant of the type of `x`."""
    return relax.const(np.asarray(value, str(x.ty.dtype)), str(x.ty.dtype))


def emit(value: relax.Expr) -> relax.Var:
    """Bind an expression in the function that is being built, so that its shape is known."""
    return relax.BlockBuilder.current().emit(value)
