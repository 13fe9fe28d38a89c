"""What contradicts itself in a manifest's shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..manifest import Manifest, Signature, TensorSpec
from .dimensions import free_dimensions, output_axes


def shape_faults(manifest: Manifest) -> Iterator[str]:
    """Name shapes that are not one network's, or that a variant lacks, and padding without use."""
    first, count = _kinds(manifest), len(manifest.signatures)
    if any(_kinds(each) != first for each in manifest.further_shapes):
        yield "the shapes differ in more than the extents of inputs and outputs"
        return
    shapes = Counter(tuple(s.shape for s in each.inputs) for each in manifest.signatures)
    if any(times > 1 for times in shapes.values()):
        yield "a shape is listed twice"
    for variant in manifest.variants:
        if len(variant.executables) != count:
            yield f"variant {variant.name!r} has {len(variant.executables)} of {count} shapes"
    if manifest.padding:
        yield from padding_faults(manifest.signatures, manifest.padding)


def padding_faults(signatures: tuple[Signature, ...], padding: dict[str, float]) -> Iterator[str]:
    """Say why inputs cannot be filled up, or outputs not cut back."""
    dimensions, inputs = free_dimensions(signatures), signatures[0].inputs
    free = {inputs[number].name: inputs[number] for d in dimensions for number, _ in d.places}
    for name, value in padding.items():
        if name not in free:
            yield f"{name!r} is padded, but is no input whose shapes differ"
        elif not _holds(free[name].dtype, value):
            yield f"{name!r} is {free[name].dtype}, which cannot hold {value:g} to pad it with"
    for name in sorted(free.keys() - padding.keys()):
        yield f"input {name!r} has several shapes, and no value to pad it with"
    for (number, axis), dimension in output_axes(signatures, dimensions).items():
        if dimension is None:
            yield (
                f"axis {axis} of output {signatures[0].outputs[number].name!r} follows no free "
                "dimension one to one, so it cannot be cut back after padding"
            )


def _holds(dtype: str, value: float) -> bool:
    """Whether a value is one of a type's, rounded where that is a floating one."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return bool(abs(value) <= float(np.finfo(kind).max))
    if kind.kind == "b":
        return value in (0, 1)
    limits = np.iinfo(kind)
    return value == int(value) and limits.min <= value <= limits.max


def _kinds(signature: Signature) -> tuple[list[tuple[str, str, int]], ...]:
    return tuple([_kind(spec) for spec in specs] for specs in (signature.inputs, signature.outputs))


def _kind(spec: TensorSpec) -> tuple[str, str, int]:
    return spec.name, spec.dtype, len(spec.shape)
