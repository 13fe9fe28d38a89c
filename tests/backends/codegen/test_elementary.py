"""exp, tanh, erf and sigmoid on vectors, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import tvm
from tvm import IRModule, te, tirx
from tvm.target import Target

from adaspring import targets
from adaspring.backends.codegen import tir_pipeline
from adaspring.backends.kernels.isa import instruction_set
from adaspring.backends.schedule.default import schedule_cpu

HOST = targets.host()
TINY = np.finfo(np.float32).tiny
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, 1e-30, -1e-30, 88.7, 88.73, -87.3, -87.4, 3e38, -3e38]
REFERENCES = {
    "exp": (tirx.exp, torch.exp, 1e-7),
    "tanh": (tirx.tanh, torch.tanh, 4e-7),
    "erf": (tirx.erf, torch.erf, 4e-7),
    "sigmoid": (tirx.sigmoid, torch.sigmoid, 2e-7),
}


def computed(operator, values: np.ndarray) -> tuple[np.ndarray, str]:
    """What the compiled operator gives, and its assembly."""
    x = te.placeholder(values.shape, str(values.dtype))
    y = te.compute(x.shape, lambda *i: operator(x(*i)))
    function = te.create_prim_func([x, y]).with_attr("global_symbol", "f")
    module = schedule_cpu(IRModule({"f": function}), instruction_set(HOST), None)
    target = Target(dict(HOST.target))
    compiled = tir_pipeline.generate(tir_pipeline.lower(module, target), target)
    found = tvm.runtime.tensor(np.zeros_like(values))
    compiled["f"](tvm.runtime.tensor(values), found)
    return found.numpy(), compiled.inspect_source("s")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    wide = np.linspace(-110, 110, 1 << 16)
    near = np.geomspace(1e-6, 20, 1 << 15)
    tail = np.zeros(-(len(wide) + 2 * len(near) + len(SPECIAL)) % 256)
    found = np.concatenate([wide, near, -near, SPECIAL, tail])
    return found.astype(np.float32).reshape(-1, 256)


@pytest.mark.parametrize("name", REFERENCES)
def test_an_operator_is_right_to_a_few_units_of_the_last_place(name, values):
    operator, reference, bound = REFERENCES[name]
    found, _ = computed(operator, values)
    exact = reference(torch.from_numpy(values).double()).numpy()
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    special = ~np.isfinite(rounded)
    np.testing.assert_array_equal(found[special], rounded[special])
    found, exact = found[~special], exact[~special]
    normal = np.abs(exact) >= TINY
    assert (np.abs(found - exact)[normal] <= bound * np.abs(exact)[normal]).all()
    assert (np.abs(found - exact)[~normal] <= TINY).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_no_operator_calls_the_c_library(name, values):
    _, assembly = computed(REFERENCES[name][0], values)
    assert not [line for line in assembly.splitlines() if f"{name}f" in line and "call" in line]
    assert "expf" not in assembly


def test_doubles_keep_their_own_precision():
    values = np.linspace(-5, 5, 64).reshape(1, 64)
    found, _ = computed(tirx.exp, values)
    np.testing.assert_allclose(found, np.exp(values), rtol=1e-14)
