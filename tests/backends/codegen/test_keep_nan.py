"""NaN and infinity go through built code as through torch; tuning records fit as before."""

import msgspec
import numpy as np
import pytest
import torch
import tvm
import tvm_ffi
from tvm import IRModule, tirx
from tvm.target import Target

from adaspring import targets
from adaspring.backends.build import prepare, schedule
from adaspring.backends.codegen import tir_pipeline
from adaspring.passes import Quantize, run
from adaspring.passes.quantize.dynamic import DynamicQuantize

from ...support.backends import run_fresh
from ...support.models import single_call
from ...support.networks import SmallCnn
from ...support.passes import Small, data, imported, known
from ...support.special_values import CALLS, NAN, SHAPE, special


@pytest.mark.parametrize("name", CALLS)
def test_built_code_computes_what_torch_does_of_nan_and_infinity(name):
    build, wanted = CALLS[name]
    x = special()
    found = run_fresh(single_call(build, SHAPE), x)
    np.testing.assert_allclose(found, wanted(torch.from_numpy(x)), rtol=1e-4, atol=1e-6)


def test_an_image_of_nan_gives_scores_of_nan():
    model = known(SmallCnn)
    assert np.isnan(run_fresh(model, np.full((1, 3, 32, 32), NAN, np.float32))).all()


def test_scales_that_are_taken_in_every_run_keep_nan_in_int8():
    network = Small(lambda self, x: self.b(torch.relu(self.a(x))), a=torch.nn.Linear(8, 8),
                    b=torch.nn.Linear(8, 4))  # fmt: skip
    model = run(imported(network, (1, 8)), (DynamicQuantize(),), None).model
    assert np.isnan(run_fresh(model, np.full((1, 8), NAN, np.float32))).all()


def test_quantizing_nan_gives_one_defined_value():
    dense = known(SmallCnn)
    model = run(dense, (Quantize(),), data(dense)).model
    image = np.full((1, 3, 32, 32), NAN, np.float32)
    first, second = run_fresh(model, image), run_fresh(model, image)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_a_function_that_is_tuned_is_left_as_it_was_until_code_is_made():
    """What a record is found by, and applied to, is not changed by what keeps NaN."""
    board = msgspec.structs.replace(targets.null(), name="some")
    prepared = prepare(single_call(CALLS["max_pool"][0], SHAPE), board)
    text = prepared.module.script()
    assert "T.max(" in text
    assert not any(word in text for word in ("isnan", '"inf"', '"-inf"'))
    scheduled = schedule(prepared, None).module
    digest = tvm_ffi.structural_hash(scheduled)
    pooled = {
        var: function
        for var, function in scheduled.functions_items()
        if isinstance(function, tirx.PrimFunc) and "pool" in var.name_hint
    }
    lowered = tir_pipeline.lower(IRModule(pooled), Target({"kind": "llvm"})).script()
    assert "-inf" in lowered
    assert "3.4028" not in lowered
    assert tvm_ffi.structural_hash(scheduled) == digest


def test_a_relu_costs_no_instruction_more():
    x = tvm.te.placeholder((64,), "float32")
    y = tvm.te.compute((64,), lambda i: tvm.te.max(x[i], tirx.const(0.0, "float32")))
    function = tvm.te.create_prim_func([x, y])
    lowered = tir_pipeline.lower(IRModule({"main": function}), Target({"kind": "llvm"}))
    assert "T.max(T.float32(0.0), " in lowered.script()
