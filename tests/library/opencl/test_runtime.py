"""OpenCL in TVM's stock runtime: buffers, kernels, the programs that are kept, errors."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adaspring.errors import RuntimeMissing, WrongBoard
from adaspring.library.opencl import build, plugin
from adaspring.targets import host_opencl

from ...support.opencl import (
    FLOAT32,
    INT32,
    POINTER,
    module_bytes,
    require_opencl,
    run_python,
)

AXES = ("blockIdx.x", "threadIdx.x")
SCALED = """// Function: scaled
__kernel void scaled(__global float* y, __global const float* x, float by, int count) {
  int i = get_global_id(0);
  if (i < count) y[i] = by * x[i];
}
"""
SUM = """// Function: total
__kernel void total(__global int* y, __global const int* x, int first) {
  int i = get_global_id(0), j = get_global_id(1), k = get_global_id(2);
  int place = (k * get_global_size(1) + j) * get_global_size(0) + i;
  y[place] = x[place] + 100 * k + 10 * j + i + first;
}
"""


@pytest.fixture(scope="module", autouse=True)
def opencl():
    require_opencl()


def loaded(*kernels: tuple, source: str):
    load = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.opencl")
    return load(module_bytes(kernels, source))


def scaled(source: str = SCALED):
    kernel = ("scaled", (POINTER, POINTER, FLOAT32, INT32), AXES)
    return loaded(kernel, source=source)["scaled"]


def on_device(array: np.ndarray):
    import tvm

    return tvm.runtime.tensor(array, tvm.opencl(0))


def data(tensor) -> ctypes.c_void_p:
    """Return what a kernel takes for an array: its buffer."""
    return ctypes.c_void_p(tensor.data_ptr())


def run_scaled(function, x: np.ndarray, by: float) -> np.ndarray:
    there, y = on_device(x), on_device(np.zeros_like(x))
    function(data(y), data(there), by, x.size, -(-x.size // 64), 64)
    return y.numpy()


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from(["float32", "int8", "uint8", "int32", "int64", "float16", "bool"]),
        arrays.array_shapes(max_dims=5, max_side=9),
    )
)
def test_arrays_come_back_as_they_went(array):
    assert np.array_equal(on_device(array).numpy(), array, equal_nan=True)


def test_an_array_without_elements_comes_back():
    assert on_device(np.zeros((0, 3), "float32")).numpy().shape == (0, 3)


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_a_kernel_gets_its_buffers_and_numbers(count):
    x = np.arange(count, dtype="float32")
    assert np.array_equal(run_scaled(scaled(), x, -2.5), -2.5 * x)


def test_every_axis_of_the_grid_goes_where_it_belongs():
    tags = [f"{kind}Idx.{axis}" for kind in ("thread", "block") for axis in "zxy"]
    kernel = loaded(("total", (POINTER, POINTER, INT32), tags), source=SUM)["total"]
    x = np.arange(6 * 4 * 10, dtype="int32").reshape(6, 4, 10)
    there, y = on_device(x), on_device(np.zeros_like(x))
    kernel(data(y), data(there), 7, 3, 5, 2, 2, 2, 2)  # groups of 3 x 5 x 2, and 2 of each
    k, i, j = np.indices(x.shape)[[0, 2, 1]]
    assert np.array_equal(y.numpy(), x + 100 * k + 10 * j + i + 7)


def test_what_tvm_compiles_is_right_in_8_bits_and_in_floats(tmp_path):
    import tvm
    from tvm import te
    from tvm.s_tir import dlight

    a, b = te.placeholder((33, 40), "int8"), te.placeholder((40, 17), "int8")
    k = te.reduce_axis((0, 40))
    product = te.compute(
        (33, 17), lambda i, j: te.sum(a[i, k].astype("int32") * b[k, j].astype("int32"), axis=k)
    )
    root = te.compute((33, 17), lambda i, j: te.sqrt(te.abs(product[i, j].astype("float32"))))
    target = tvm.target.Target(dict(host_opencl().target))
    module = tvm.IRModule({"main": te.create_prim_func([a, b, root])})
    with target:
        module = dlight.ApplyDefaultSchedule(dlight.gpu.Matmul(), dlight.gpu.Fallback())(module)
    tvm.compile(module, target=target).export_library(str(tmp_path / "code.so"))
    code = tvm.runtime.load_module(str(tmp_path / "code.so"))
    random = np.random.default_rng(0)
    x, y = (random.integers(-128, 128, shape).astype("int8") for shape in ((33, 40), (40, 17)))
    z = on_device(np.zeros((33, 17), "float32"))
    code["main"](on_device(x), on_device(y), z)
    wanted = np.sqrt(np.abs(x.astype("int64") @ y.astype("int64")).astype("float64"))
    assert np.allclose(z.numpy(), wanted, rtol=1e-6)


def test_a_module_is_serialized_again_as_it_was():
    bytes_in = module_bytes([("scaled", (POINTER,), AXES)], SCALED)
    module = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.opencl")(bytes_in)
    assert module.kind == "opencl"
    assert module.inspect_source() == SCALED


def test_a_kernel_that_does_not_compile_is_named_with_what_the_compiler_said():
    with pytest.raises(RuntimeError, match=r"compiling scaled for .*CL_BUILD_PROGRAM_FAILURE"):
        run_scaled(scaled(SCALED.replace("by * x[i]", "by * z[i]")), np.ones(3, "float32"), 1.0)


def test_a_kernel_that_its_source_lacks_is_named():
    with pytest.raises(RuntimeError, match=r"taking scaled out of its program: CL_INVALID_KERNEL"):
        run_scaled(scaled(SCALED.replace("void scaled", "void other")), np.ones(3, "float32"), 1.0)


def test_a_work_group_that_the_device_refuses_is_said():
    function, x = scaled(), on_device(np.ones(4, "float32"))
    with pytest.raises(RuntimeError, match=r"launching scaled: CL_INVALID_WORK_(GROUP|ITEM)_SIZE"):
        function(data(x), data(x), 1.0, 4, 1, 1 << 20)


def test_too_few_arguments_are_refused():
    with pytest.raises(TypeError, match="scaled takes 6 arguments, not 2"):
        scaled()(1.0, 4)


def test_more_memory_than_there_is_is_refused_and_the_device_goes_on():
    import tvm

    with pytest.raises(RuntimeError, match=r"allocating \d+ bytes on the OpenCL device: CL_"):
        tvm.runtime.empty((1 << 46,), "float32", tvm.opencl(0))
    assert run_scaled(scaled(), np.ones(1, "float32"), 3.0) == 3.0


def test_a_device_that_is_not_there_is_told_from_those_that_are():
    import tvm

    assert not tvm.opencl(99).exist
    with pytest.raises(RuntimeError, match="there is no OpenCL device 99: this machine has "):
        tvm.runtime.empty((1,), "float32", tvm.opencl(99))


def test_torn_and_strange_modules_are_refused():
    whole = module_bytes([("scaled", (POINTER, INT32), AXES)], SCALED)
    load = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.opencl")
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="OpenCL module: "):
            load(whole[:size])
    strange = {
        "format spirv is unknown": module_bytes([], SCALED, kind="spirv"),
        "launch parameter vthread is unknown": module_bytes([("k", (), ("vthread",))], SCALED),
        "of one thing": module_bytes([], "")[:10] + b"\xff" * 8,
    }
    for message, content in strange.items():
        with pytest.raises(ValueError, match=message):
            load(content)


def test_four_threads_launch_one_kernel_each_with_its_own_arguments():
    function, wrong = scaled(), list[int]()

    def work(number: int) -> None:
        for step in range(50):
            x = np.full(257, number + 1, "float32")
            if not np.array_equal(run_scaled(function, x, step), step * x):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong


def test_kernels_are_timed_by_the_devices_clock_in_the_order_of_their_launches():
    function, large, small = scaled(), np.ones(1 << 22, "float32"), np.ones(1, "float32")
    times = plugin.kernel_times(lambda: [run_scaled(function, x, 2.0) for x in (large, small)])
    assert [name for name, _ in times] == ["scaled", "scaled"]
    assert times[0][1] > times[1][1] > 0
    assert plugin.kernel_times(lambda: None) == []


KEPT = """
import os, sys, time
from pathlib import Path
import numpy as np, tvm, tvm_ffi
from adaspring.library.opencl import plugin
from tests.library.opencl.test_runtime import SCALED, run_scaled, scaled
plugin.load(sys.argv[1] if len(sys.argv) > 1 else None)
tvm_ffi.get_global_func("adaspring.opencl.set_program_folder")(os.environ["PROGRAMS"])
assert np.array_equal(run_scaled(scaled(), np.ones(5, "float32"), 2.0), np.full(5, 2.0))
print(sorted((f.name, f.stat().st_mtime_ns) for f in Path(os.environ["PROGRAMS"]).iterdir()))
"""


def test_a_compiled_program_is_kept_and_taken_at_the_next_start(tmp_path):
    folder = tmp_path / "programs"
    first = run_python(KEPT, PROGRAMS=str(folder))
    assert first.returncode == 0, first.stderr
    (file,) = folder.iterdir()
    again = run_python(KEPT, PROGRAMS=str(folder))
    assert again.stdout == first.stdout
    identity, _, _ = file.read_bytes().partition(b"\0")
    assert identity.endswith(SCALED.partition("\n")[2].encode())


@pytest.mark.parametrize("spoil", ["torn", "of another source", "of another driver", "empty"])
def test_a_kept_program_that_is_not_this_one_is_compiled_anew(tmp_path, spoil):
    assert run_python(KEPT, PROGRAMS=str(tmp_path)).returncode == 0
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {
            "torn": whole[:-100],
            "of another source": whole.replace(b"by * x[i]", b"by + x[i]"),
            "of another driver": b"OpenCL 9" + whole[8:],
            "empty": b"",
        }[spoil]
    )
    found = run_python(KEPT, PROGRAMS=str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert file.read_bytes().partition(b"\0")[0] == whole.partition(b"\0")[0]


def test_programs_that_cannot_be_kept_run_all_the_same(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    found = run_python(KEPT.rpartition("print")[0], PROGRAMS=str(blocked / "programs"))
    assert found.returncode == 0, found.stderr


def test_importing_tvm_brings_opencl_where_the_runtime_is_compiled():
    plugin.path()
    found = run_python("import tvm; print(tvm.opencl(0).exist)")
    assert found.stdout.strip() == "True"
    off = run_python("import tvm; print(tvm.opencl(0).exist)", TVM_DEVICE_BACKEND_AUTOLOAD="0")
    assert off.stdout.strip() == "False"


def test_without_a_device_the_error_says_what_to_install(tmp_path):
    script = (
        "import tvm; from adaspring.library.opencl import plugin; "
        "from adaspring.targets import host_opencl; plugin.start(host_opencl().target, 'box')"
    )
    found = run_python(script, OCL_ICD_VENDORS=str(tmp_path))
    assert "WrongBoard: box computes through OpenCL, and no OpenCL device is here" in found.stderr
    assert "apt install pocl-opencl-icd" in found.stderr


def test_a_board_with_higher_limits_than_the_device_is_refused():
    target = dict(host_opencl().target) | {"max_shared_memory_per_block": 1 << 40}
    with pytest.raises(WrongBoard, match=r"box has 1099511627776 for max_shared_memory_per_block"):
        plugin.start(target, "box")


def test_another_release_of_tvm_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(plugin, "is_loaded", lambda: False)
    monkeypatch.setattr(plugin, "version", lambda _: "0.28.1")
    with pytest.raises(RuntimeMissing, match=r"is for TVM 0.27, installed is 0.28.1; `pip install"):
        plugin.load()
    plugin.autoload()  # and says nothing where nobody asked


def test_a_compiled_file_serves_no_other_sources(monkeypatch, tmp_path):
    before = build.file_name()
    changed = tmp_path / "module.cc"
    changed.write_text("// another\n")
    monkeypatch.setattr(build, "SOURCES", (changed,))
    assert build.file_name() != before
