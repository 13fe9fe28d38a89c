"""Test networks for CUDA boards: right where a processor runs their kernels, thread by thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspring import targets

from ..support.cuda_on_cpu.source import as_source, on_this_host
from ..support.device_networks import check, compile_networks, outputs

pytestmark = pytest.mark.slow
BEGIN = """
import os
from pathlib import Path
from adaspring.tests.support.cuda_on_cpu import device
device.start(Path(os.environ["COMPILED"]))
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """Where kernels are compiled: those that are alike for both boards, once."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("name", ["jetson-orin", "h200"])
def test_they_agree_with_the_reference(name, compiled, tmp_path):
    with as_source():
        compile_networks(on_this_host(targets.find(name)), tmp_path)
    check(outputs(tmp_path, tmp_path / "out", BEGIN, COMPILED=str(compiled)))
