"""Named dimensions of an ONNX file's inputs: one name, one extent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import TensorShapeProto, ValueInfoProto

from ...errors import ModelError
from ..shapes import Shapes

# What exporters write where a dimension has no name, in several places that have nothing in common.
_NO_NAMES = ("", "?", "*", "-1", "None")


def complete(path: Path, inputs: Sequence[ValueInfoProto], shapes: Shapes) -> Shapes:
    """Add the shapes of inputs whose free dimensions are named in those that are given.

    Raises:
        ModelError: a dimension of one name has two extents.

    """
    known: dict[str | None, tuple[int, str]] = {}
    for value in inputs:
        names = [_name(d) for d in value.type.tensor_type.shape.dim]
        if value.name not in shapes or len(names) != len(shapes[value.name]):
            continue
        for name, extent in zip(names, shapes[value.name], strict=True):
            before, where = known.setdefault(name, (extent, value.name))
            if name is not None and before != extent:
                raise ModelError(
                    f"{path}: dimension {name} is {before} in {where} and {extent} in "
                    f"{value.name}; it is one, so give the same"
                )
    extents = {name: extent for name, (extent, _) in known.items() if name is not None}
    followed = {
        value.name: shape
        for value in inputs
        if value.name not in shapes and (shape := _follow(value, extents)) is not None
    }
    return {**shapes, **followed}


def _follow(value: ValueInfoProto, extents: dict[str, int]) -> tuple[int, ...] | None:
    """Give an input's shape where every free dimension of it is known, and it has one."""
    tensor = value.type.tensor_type
    shape = [d.dim_value or extents.get(_name(d) or "", 0) for d in tensor.shape.dim]
    free = any(d.dim_value <= 0 for d in tensor.shape.dim)
    return tuple(shape) if tensor.HasField("shape") and free and min(shape) > 0 else None


def _name(dimension: TensorShapeProto.Dimension) -> str | None:
    return None if dimension.dim_param in _NO_NAMES else dimension.dim_param
