"""Random ONNX networks, imported, compute what ONNX Runtime computes."""

import numpy as np
import onnx
import onnxruntime
import pytest

from adaspring.frontend.from_onnx.importer import from_onnx
from adaspring.reference.executor import Reference

from ...support.random_onnx import RandomOnnx


@pytest.mark.parametrize("seed", range(60))
def test_a_random_network_computes_what_onnx_runtime_does(tmp_path, seed):
    made = RandomOnnx(seed)
    onnx.save(made.model(), tmp_path / "net.onnx")
    feeds = dict(zip(made.given, made.inputs(), strict=True))
    right = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, feeds)
    found = Reference(from_onnx(tmp_path / "net.onnx")).run(*made.inputs())
    for ours, wanted in zip(found, right, strict=True):
        assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
