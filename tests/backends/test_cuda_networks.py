"""Test networks for CUDA boards: right where a processor runs their kernels, thread by thread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tvm import relax

from adaspring import targets

from ..support.cuda_on_cpu.source import as_source, on_this_host
from ..support.device_networks import check, compile_network, compile_networks, outputs
from ..support.models import single_call
from ..support.special_values import CALLS, SHAPE, special

pytestmark = pytest.mark.slow
BEGIN = """
import os
from pathlib import Path
from adaspring.tests.support.cuda_on_cpu import device
device.start(Path(os.environ["COMPILED"]), int(os.environ.get("CAPABILITY", 90)))
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> dict[str, str]:
    """What an app begins with. Kernels that are alike for both boards are compiled once."""
    return {"begin": BEGIN, "COMPILED": str(tmp_path_factory.mktemp("compiled"))}


@pytest.mark.parametrize(("name", "capability"), [("jetson-orin", 87), ("h200", 90)])
def test_they_agree_with_the_reference(name, capability, app, tmp_path):
    with as_source():
        compile_networks(on_this_host(targets.find(name)), tmp_path)
    check(outputs(tmp_path, tmp_path / "out", CAPABILITY=str(capability), **app))


def test_nan_and_infinity_go_through_them_as_through_torch(app, tmp_path):
    """All calls are outputs of one network."""
    model = single_call(lambda x: relax.Tuple([build(x) for build, _ in CALLS.values()]), SHAPE)
    x = special()
    with as_source():
        board = on_this_host(targets.find("h200"))
        compile_network("special", model, board, tmp_path, x)
    (found,) = outputs(tmp_path, tmp_path / "out", ["special"], **app).values()
    for (name, (_, wanted)), values in zip(CALLS.items(), found, strict=True):
        expected = wanted(torch.from_numpy(x))
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6, err_msg=name)
