"""Every operator that an importer may leave, in many forms: mapped, unmapped, and against TVM."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from adaspring.ir.graph import Graph
from adaspring.reference.arrays import to_array, to_tensor
from adaspring.reference.execution import Execution
from adaspring.reference.executor import Reference

from ..support.forms import FORMS, assert_same, model_of_form

# TVM refuses these, or gives another type than its own IR declares.
WRONG_IN_TVM = {
    "equal_bool", "not_equal_bool", "power_int", "pixel_shuffle", "full_infinite", "causal_mask",
    *(f"mean_{dtype}{form}" for dtype in ("int32", "uint8") for form in ("", "_axis", "_keep")),
}  # fmt: skip


class ThroughTvm(Execution):
    """Every call falls back on TVM."""

    table: ClassVar = {}


def run_through_tvm(model, arrays):
    """Twice at once, each call alone."""
    outputs = Graph.of(model).outputs()
    twice = [to_tensor(np.stack([array, array])) for array in arrays]
    execution = ThroughTvm(model, twice, keep=outputs)
    for _ in execution:
        pass
    return [to_array(execution.mapped_value(var, 2))[1] for var in outputs]


@pytest.mark.parametrize("name", FORMS)
def test_a_form_gives_what_the_ir_declares_for_one_run_and_for_many(name):
    model, arrays = model_of_form(name)
    found = Reference(model).run(*arrays)
    declared = [(spec.dtype, spec.shape) for spec in model.outputs]
    assert [(str(value.dtype), value.shape) for value in found] == declared
    halved = [x * np.asarray(0.5, x.dtype) if x.dtype.kind == "f" else x for x in arrays]
    both = [np.stack(pair) for pair in zip(arrays, halved, strict=True)]
    many = Reference(model).mapped(both)
    for mapped, first, second in zip(many, found, Reference(model).run(*halved), strict=True):
        assert_same(mapped[0], first)
        assert_same(mapped[1], second)
    outputs = Graph.of(model).outputs()
    unmapped = Execution(model, [to_tensor(x) for x in arrays], outputs, mapped=False)
    for _ in unmapped:
        pass
    for var, value in zip(outputs, found, strict=True):
        assert_same(to_array(unmapped.values[var]), value)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMS if name not in WRONG_IN_TVM])
def test_a_form_means_the_same_in_the_table_and_in_tvm(name):
    model, arrays = model_of_form(name)
    found, wanted = Reference(model).run(*arrays), run_through_tvm(model, arrays)
    for value, expected in zip(found, wanted, strict=True):
        assert_same(value, expected)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_no_tensor_has_a_stride_of_zero(rank):
    """On such a one torch's GELU writes beyond the tensor."""
    array = np.zeros((2,) * rank, np.float32)[None]
    assert 0 not in to_tensor(array).stride()
    assert torch.equal(to_tensor(array), torch.zeros((1, *(2,) * rank)))
