"""Import a network at every shape that is asked for, the data's before the others."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DataError
from ...frontend import load_data
from ...frontend.data import Dataset, Splits
from ...frontend.shapes import check_alike, check_shapes, specs_text
from ...ir.model import Model, sample_shape
from ...reference.import_check import load_checked
from ..request import Request
from .padding import check_padding


def import_shapes(request: Request) -> tuple[Model, ...]:
    """Import the network once for each shape, and check what each gives, and its padding.

    Raises:
        AdaspringError: shapes that the network cannot have, or that contradict each other; data of
            none of them.

    """
    shapes = check_shapes(request.shapes)
    imported = [load_checked(request.model, each, check=request.check_import) for each in shapes]
    models = check_alike(imported)
    check_padding(models, request.pad)
    if len(models) == 1 or request.data is None:
        return models
    data = request.data
    return _data_first(models, data.validation if isinstance(data, Splits) else load_data(data))


def _data_first(models: Sequence[Model], data: Dataset) -> tuple[Model, ...]:
    given = sorted(array.shape[1:] for array in data.inputs)
    for model in models:
        if sorted(sample_shape(spec, model.batch) for spec in model.inputs) == given:
            return (model, *(other for other in models if other is not model))
    known = "; ".join(specs_text(model.inputs) for model in models)
    raise DataError(
        f"the samples have the shapes {', '.join(map(str, given))}, those of no shape that is "
        f"compiled ({known}); give data of one of them"
    )
