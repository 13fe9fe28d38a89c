"""OpenCL in TVM's stock runtime: buffers, kernels, the programs that are kept, errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adaspring.library.opencl import plugin
from adaspring.targets import host_opencl

from ...support.opencl import (
    AXES,
    INT32,
    POINTER,
    SCALED,
    SUM,
    data,
    loaded,
    module_bytes,
    on_device,
    require_opencl,
    run_scaled,
    scaled,
)


@pytest.fixture(scope="module", autouse=True)
def opencl():
    require_opencl()


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
    with plugin.timed_kernels() as take_times:
        for x in (large, small):
            run_scaled(function, x, 2.0)
        times = take_times()
        assert take_times() == []
    assert [name for name, _ in times] == ["scaled", "scaled"]
    assert times[0][1] > times[1][1] > 0
    with plugin.timed_kernels() as take_times:  # what went unasked before is over
        assert take_times() == []
