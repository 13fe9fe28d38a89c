"""Which shapes a network is compiled for: each is one shape of every input that is named."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ModelError, UsageError
from ..ir.model import Model, TensorSpec

Shapes = Mapping[str, tuple[int, ...]]
"""One shape for each input, by its name."""

MOST_SHAPES = 16
"""Each is compiled, tuned and measured by itself, so more would be a mistake."""


def check_shapes(given: Shapes | Sequence[Shapes] | None) -> tuple[Shapes | None, ...]:
    """Give the shapes in order, one at least; (None,) where the source's own are meant.

    Raises:
        UsageError: an extent below 1, a shape given twice, other inputs than in the first, or more
            than `MOST_SHAPES`.

    """
    if not given:
        return (None,)
    listed = [given] if isinstance(given, Mapping) else list(given)
    if len(listed) > MOST_SHAPES:
        raise UsageError(f"{len(listed)} shapes are given; a library holds at most {MOST_SHAPES}")
    found = [{name: _extents(name, shape) for name, shape in each.items()} for each in listed]
    for index, each in enumerate(found):
        if each.keys() != found[0].keys():
            raise UsageError(
                f"one shape names the inputs {', '.join(found[0])}, another {', '.join(each)}; "
                "name the same in all"
            )
        if each in found[:index]:
            raise UsageError(f"the shape {shapes_text(each)} is given twice; give each once")
    return tuple(found)


def one_shape(given: Shapes | Sequence[Shapes] | None, why: str) -> Shapes | None:
    """Give the only shape, or None; UsageError, with `why` it must be one, where there are more."""
    first, *more = check_shapes(given)
    if more:
        raise UsageError(f"{1 + len(more)} shapes are given; {why}")
    return first


def check_alike(models: Sequence[Model]) -> tuple[Model, ...]:
    """Give one network at several shapes the first one's names of outputs.

    Raises:
        ModelError: its inputs or outputs have other names, types or numbers of axes, or it has
            the same shape twice.

    """
    first, seen = models[0], list[list[tuple[int, ...]]]()
    for model in models:
        inputs = [spec.shape for spec in model.inputs]
        if [_kind(spec) for spec in model.inputs] != [_kind(spec) for spec in first.inputs]:
            raise ModelError(f"{model.name} takes other inputs at {specs_text(model.inputs)}")
        if [_kind(s)[1:] for s in model.outputs] != [_kind(s)[1:] for s in first.outputs]:
            raise ModelError(
                f"{model.name} gives other outputs at {specs_text(model.inputs)} than at "
                f"{specs_text(first.inputs)}"
            )
        if inputs in seen:
            raise ModelError(f"{model.name}: {specs_text(model.inputs)} is given twice")
        seen.append(inputs)
    return tuple(model.with_output_names(first.outputs) for model in models)


def shapes_text(shapes: Shapes) -> str:
    """Write a shape as the command line takes it: ids=1,16 mask=1,16."""
    return " ".join(f"{name}={','.join(map(str, shape))}" for name, shape in shapes.items())


def specs_text(specs: Iterable[TensorSpec]) -> str:
    """Write the shape of inputs as the command line takes it."""
    return shapes_text({spec.name: spec.shape for spec in specs})


def _kind(spec: TensorSpec) -> tuple[str, str, int]:
    return spec.name, spec.dtype, len(spec.shape)


def _extents(name: str, shape: Iterable[Any]) -> tuple[int, ...]:
    try:
        extents = tuple(operator.index(extent) for extent in shape)
    except TypeError as error:
        raise UsageError(
            f"the shape of {name} is {shape!r}; give whole numbers, for example (1, 3, 32, 32)"
        ) from error
    if min(extents, default=1) < 1:
        raise UsageError(f"the shape {shapes_text({name: extents})} has an extent below 1")
    return extents
