"""The OpenCL runtime under the address sanitizer, and that Oclgrind is heard."""

from __future__ import annotations

import subprocess

import pytest

from adaspring.library.opencl import build

from ...support.opencl import oclgrind, require_opencl, run_python
from ...support.requirements import require_tool


@pytest.fixture(scope="module", autouse=True)
def opencl():
    require_opencl()


RACING = """// Function: racing
__kernel void racing(__global float* y) {
  __local float shared[64];
  int i = get_local_id(0);
  shared[i] = i;
  y[i] = shared[63 - i];
}
"""
RACES = """
import numpy as np, tvm
from adaspring.library.opencl import plugin
from tests.library.opencl.test_sanitizers import RACING
from tests.support.opencl import AXES, POINTER, data, loaded, on_device
plugin.load()
y = on_device(np.zeros(64, "float32"))
loaded(("racing", (POINTER,), AXES), source=RACING)["racing"](data(y), 1, 64)
y.numpy()
"""


def test_oclgrind_is_heard_where_a_kernel_races(tmp_path):
    simulated = oclgrind(tmp_path)
    ran = run_python(RACES, **simulated.variables)
    assert ran.returncode == 0, ran.stderr
    assert "data race" in simulated.log.read_text()


SANITIZED = """
import os, tvm
from adaspring.library.opencl import plugin
from tests.library.opencl import test_runtime
plugin.load(os.environ["RUNTIME"])
for test in (
    test_runtime.test_an_array_without_elements_comes_back,
    test_runtime.test_every_axis_of_the_grid_goes_where_it_belongs,
    test_runtime.test_four_threads_launch_one_kernel_each_with_its_own_arguments,
    test_runtime.test_kernels_are_timed_by_the_devices_clock_in_the_order_of_their_launches,
    test_runtime.test_torn_and_strange_modules_are_refused,
):
    test()
print("clean")
"""


@pytest.mark.slow
def test_it_is_clean_under_the_address_sanitizer(tmp_path):
    require_tool("g++", "g++")
    compiler = tmp_path / "sanitizing-g++"
    compiler.write_text('#!/bin/sh\nexec g++ "$@" -g -O1 -fsanitize=address\n')
    compiler.chmod(0o755)
    runtime = build.build(str(compiler), tmp_path)
    preloaded = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")  # the latter's throw is looked for at once
    ]
    ran = run_python(
        SANITIZED,
        RUNTIME=str(runtime),
        TVM_DEVICE_BACKEND_AUTOLOAD="0",
        LD_PRELOAD=" ".join(preloaded),
        ASAN_OPTIONS="detect_leaks=0",  # the interpreter's own are many
    )
    assert ran.stdout.endswith("clean\n"), ran.stderr[-3000:]
