"""Run a `Model` as it stands, through TVM's own virtual machine on one CPU."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax


def run(model, *inputs) -> list[np.ndarray]:
    built = relax.build(model.module, tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(built, tvm.cpu())
    values = [np.asarray(x) for x in (*inputs, *model.weights.values())]
    result = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(v)) for v in values))
    results = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [r.numpy() for r in results]


def operators(model) -> list[str]:
    bindings = model.function.body.blocks[0].bindings
    return [b.value.op.name.removeprefix("relax.") for b in bindings if hasattr(b.value, "op")]


def assert_close(found, expected, tolerance=1e-4):
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert f.dtype == e.dtype
        np.testing.assert_allclose(f, e, rtol=tolerance, atol=tolerance * max(1, np.abs(e).max()))
