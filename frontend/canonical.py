"""From an importer's module to a `Model` in the conventions of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tvm import IRModule, relax

from ..errors import ModelError, UnsupportedOperator
from ..ir import edit
from ..ir.model import Model, TensorSpec
from ..ir.verify import verify
from . import constants, fold, qdq

_GIVEN = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("uint16", "uint32", "uint64"),
)
"""The types of outputs that NumPy has."""


def canonicalize(
    module: IRModule,
    weights: Sequence[tuple[str, np.ndarray]],
    constant_names: Mapping[bytes, str],
    *,
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    notes: tuple[str, ...] = (),
) -> Model:
    """Fold what can be folded and name every weight.

    `module`'s main takes the inputs, then `weights` in order; `constant_names` gives the source's
    names for arrays that the importer bound into the body, by `constants.digest`.
    """
    source = edit.from_function(module["main"], len(input_names), weights)
    constants.inline(source)
    try:
        qdq.normalize_qdq(source, constant_names)
        constants.lift(source, constant_names)
        fold.lower_batch_norm(source)
    except UnsupportedOperator as error:
        raise UnsupportedOperator(f"{name}: {error}") from error
    constants.evaluate(source)
    fold.fold_affine(source)
    edit.bind_constants(source)
    canonical, arrays = edit.emit(source)
    canonical = relax.transform.DecomposeOpsForInference()(canonical)
    inputs = _specs(input_names, canonical["main"].params)
    outputs = _specs(output_names, _output_values(canonical["main"]))
    for spec in outputs:
        if spec.dtype not in _GIVEN:
            raise ModelError(
                f"{name}: output {spec.name} is {spec.dtype}, which an app cannot read"
            )
    model = Model(
        name=name, module=canonical, weights=arrays, inputs=inputs, outputs=outputs, notes=notes
    )
    verify(model)
    return model


def note_of(narrow: str) -> str:
    """Say what became of a network that computes in 16-bit floats."""
    return (
        f"the network's floats are {narrow}: it is computed in float32, its weights widened; "
        "inputs and outputs keep their types"
    )


def _output_values(function: relax.Function) -> list[relax.Type]:
    returned = function.ret_ty
    return list(returned.fields) if isinstance(returned, relax.TupleType) else [returned]


def _specs(
    names: Sequence[str], values: Sequence[relax.Var | relax.Type]
) -> tuple[TensorSpec, ...]:
    specs = []
    for name, value in zip(names, values, strict=False):
        ty = value.ty if isinstance(value, relax.Var) else value
        specs.append(TensorSpec(name=name, shape=_fixed_shape(name, ty), dtype=str(ty.dtype)))
    return tuple(specs)


def _fixed_shape(name: str, ty: relax.TensorType) -> tuple[int, ...]:
    if not edit.has_fixed_shape(ty):
        raise ModelError(f"{name} has no fixed shape; export the network with fixed shapes")
    return tuple(int(length) for length in ty.shape)
