"""Every operator that an importer may leave in the IR, in forms in which it occurs.

A form is a call's builder and the arrays that it takes, by name.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from adaspring.ir.model import Model

from ..models import model_of
from .elementwise import ELEMENTWISE
from .indices import INDICES
from .layers import LAYERS
from .reductions import REDUCTIONS
from .shapes import SHAPES

FORMS = {**ELEMENTWISE, **REDUCTIONS, **SHAPES, **INDICES, **LAYERS}


def model_of_form(name: str) -> tuple[Model, list[np.ndarray]]:
    """The model of a form's call, its results as outputs, and the arrays that it takes."""
    build, arrays = FORMS[name]
    types = [relax.TensorType(array.shape, str(array.dtype)) for array in arrays]
    inputs = [relax.Var(f"x{at}", ty) for at, ty in enumerate(types)]
    return model_of(inputs, {}, lambda *values: _outputs(build(*values))), list(arrays)


def model_of_constants(name: str) -> tuple[Model, list[np.ndarray]]:
    """The same, but all arrays after the first are constants."""
    build, (first, *rest) = FORMS[name]
    constants = [relax.const(array, str(array.dtype)) for array in rest]
    x = relax.Var("x", relax.TensorType(first.shape, str(first.dtype)))
    return model_of([x], {}, lambda value: _outputs(build(value, *constants))), [first]


def _outputs(result: relax.Expr) -> relax.Expr:
    """Every item of a call's tuple, bound as the importers bind it."""
    builder = relax.BlockBuilder.current()
    bound = builder.emit(result)
    if not isinstance(bound.ty, relax.TupleType):
        return bound
    items = range(len(bound.ty.fields))
    return relax.Tuple([builder.emit(relax.TupleGetItem(bound, item)) for item in items])


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """The same type, shape and values, but for rounding."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, wanted)
