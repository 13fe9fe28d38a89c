"""Test networks on an OpenCL device: right by PoCL, and clean under Oclgrind, kernel by kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspring.targets import host_opencl

from ..support.device_networks import SIMULATED, check, compile_networks, outputs
from ..support.opencl import oclgrind, require_opencl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A library, and a sample, for each network."""
    require_opencl()
    folder = tmp_path_factory.mktemp("networks")
    compile_networks(host_opencl(), folder)
    return folder


def test_they_agree_with_the_reference(folder, tmp_path):
    check(outputs(folder, tmp_path / "out"))


def test_oclgrind_finds_nothing_in_the_first_and_last_group_of_their_kernels(folder, tmp_path):
    simulated = oclgrind(tmp_path)
    where = tmp_path / "simulated"
    outputs(folder, where, SIMULATED, OCLGRIND_QUICK="1", **simulated.variables)
    assert simulated.log.read_text() == ""
