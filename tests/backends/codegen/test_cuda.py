"""CUDA libraries hold machine code, built without a GPU; what is missing to build is named."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cubins import instructions, tool_path

from adaspring import targets
from adaspring.backends.codegen import cuda, cuda_compiler, cuda_toolchain
from adaspring.errors import BuildError

from ...support.device_networks import network
from ...support.networks import SmallCnn, example_inputs
from ...support.requirements import missing

MISSING = cuda.available()
JETSON, H200 = targets.find("jetson-orin"), targets.find("h200")


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("aarch64_linker")]


@pytest.fixture(autouse=True, scope="module")
def _toolchain():
    if MISSING is not None:
        missing(MISSING)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> dict[str, Path]:
    from adaspring.backends.build import build, prepare
    from adaspring.frontend.from_torch.importer import from_torch

    folder = tmp_path_factory.mktemp("cuda")
    network = SmallCnn()
    model = from_torch(network, example_inputs(network), name="small")
    return {
        board.name: build(prepare(model, board), None, folder / f"{board.name}.so").code
        for board in (JETSON, H200)
    }


@pytest.fixture(scope="module")
def tiny() -> str:
    """A finished module of one kernel, as the child takes it."""
    import tvm
    from tvm import relax

    from adaspring.backends.build import prepare, schedule

    from ...support.models import model_of

    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    return tvm.ir.save_json(schedule(prepare(model_of([x], {}, relax.op.exp), JETSON), None).module)


@pytest.mark.parametrize(
    ("board", "capability"), [(JETSON, 87), (H200, 90)], ids=["jetson", "h200"]
)
def test_the_library_holds_machine_code_of_the_boards_gpu_alone(libraries, board, capability):
    assert cuda.machine_code(libraries[board.name]) == {capability}


@pytest.mark.parametrize("board", [JETSON, H200], ids=["jetson", "h200"])
@pytest.mark.parametrize(("form", "core"), [("float16", "HMMA"), ("int8", "IMMA")])
def test_low_precision_multiplies_on_tensor_cores_and_copies_ahead(board, form, core, tmp_path):
    from adaspring.backends.build import build, prepare

    if tool_path("nvdisasm") is None:
        missing("nvdisasm is not here (package nvidia-cuda-nvdisasm)")
    prepared = prepare(network(f"SmallCnn-{form}"), board)
    found = instructions(build(prepared, None, tmp_path / "library.so").code)
    assert found[core] > 10
    assert found["LDGSTS"] > 10


@pytest.mark.parametrize(
    ("board", "machine"), [(JETSON, "AArch64"), (H200, "X86-64")], ids=["jetson", "h200"]
)
def test_the_hosts_side_is_code_of_the_boards_cpu(libraries, board, machine):
    header = _output("readelf", "-h", libraries[board.name])
    assert machine.lower() in header.lower()


@pytest.mark.parametrize("board", [JETSON, H200], ids=["jetson", "h200"])
def test_the_library_needs_no_driver_to_be_loaded(libraries, board):
    """TVM's runtime opens the machine code; the library itself names no NVIDIA library."""
    dynamic = _output("readelf", "-d", libraries[board.name])
    assert "libcuda" not in dynamic


def test_machine_code_is_read_from_either_elf_version(tmp_path):
    def header(abi: int, flags: int) -> bytes:
        start = b"\x7fELF\x02\x01\x01\x33" + bytes([abi]) + bytes(7)
        return (
            start
            + (2).to_bytes(2, "little")
            + (190).to_bytes(2, "little")
            + bytes(28)
            + (flags.to_bytes(4, "little") + bytes(12))
        )

    library = tmp_path / "code.so"
    library.write_bytes(b"host" + header(7, 0x560556) + b"between" + header(8, 0x6005A04))
    assert cuda.machine_code(library) == {0x56, 90}


def test_cuda_source_counts_as_no_machine_code(tmp_path):
    library = tmp_path / "code.so"
    library.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60) + b'extern "C" __global__ void f() {}')
    assert cuda.machine_code(library) == frozenset()


@pytest.fixture
def nothing_installed(monkeypatch):
    """No toolkit, nothing on PATH, no pip package."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(cuda_toolchain, "TOOLKITS", ())
    monkeypatch.setattr(cuda_toolchain, "pip_root", lambda: None)


def _install(monkeypatch, root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(cuda_toolchain, "TOOLKITS", (root,))


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ((), "no CUDA compiler"),
        (("lib64/libcudart.so.13",), "no CUDA compiler"),
        (("bin/nvcc",), r"no CUDA runtime \(libcudart.so.13\)"),
        (("lib/libnvrtc.so.13",), r"no CUDA runtime \(libcudart.so.13\)"),
        (("lib/libnvrtc.so.13", "lib/libcudart.so.13"), "no CUDA headers"),
    ],
)
@pytest.mark.usefixtures("nothing_installed")
def test_what_is_missing_is_named_with_what_to_install(monkeypatch, tmp_path, files, missing):
    _install(monkeypatch, tmp_path, *files)
    with pytest.raises(BuildError, match=missing) as raised:
        cuda_toolchain.find_toolchain()
    assert 'pip install "adaspring[cuda]"' in str(raised.value)
    assert "\n" not in str(raised.value)
    assert cuda.available() == str(raised.value)


@pytest.mark.usefixtures("nothing_installed")
def test_nvcc_is_preferred_to_nvrtc(monkeypatch, tmp_path):
    both = ("bin/nvcc", "lib64/libcudart.so.13", "lib64/libnvrtc.so.13")
    _install(monkeypatch, tmp_path, *both)
    found = cuda_toolchain.find_toolchain()
    assert (found.kind, found.compiler) == ("nvcc", str(tmp_path / "bin/nvcc"))


@pytest.mark.usefixtures("nothing_installed")
def test_nvrtc_and_its_headers_are_found_where_pip_puts_them(monkeypatch, tmp_path):
    root = tmp_path / "nvidia" / "cu13"
    headers = ("include/cuda_fp16.h", "include/cccl/cuda/std/cstdint")
    _install(monkeypatch, root, "lib/libnvrtc.so.13", "lib/libcudart.so.13", *headers)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(cuda_toolchain, "TOOLKITS", ())
    monkeypatch.syspath_prepend(tmp_path)
    found = cuda_toolchain.find_toolchain()
    assert found.kind == "nvrtc"
    assert found.include_dirs == (str(root / "include"), str(root / "include/cccl"))


@pytest.mark.usefixtures("nothing_installed")
def test_a_machine_without_a_linker_cannot_build(monkeypatch, tmp_path):
    _install(monkeypatch, tmp_path, "bin/nvcc", "lib64/libcudart.so.13")
    assert "install Debian's binutils" in cuda.available()


def test_a_board_whose_linker_is_missing_is_refused(monkeypatch, tmp_path, tiny):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("ld", "gcc", "cc"):
        (tools / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(BuildError, match="binutils-aarch64-linux-gnu"):
        cuda.compile_library(tiny, JETSON, tmp_path / "code.so")


def _fake_nvcc(monkeypatch, folder: Path, script: str) -> None:
    folder.mkdir()
    nvcc = folder / "nvcc"
    nvcc.write_text(f"#!/bin/sh\n{script}\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_compiler_error_is_one_line_and_leaves_no_library(monkeypatch, tmp_path, tiny):
    _fake_nvcc(monkeypatch, tmp_path / "bin", "echo 'k.cu(3): error: boom' >&2; echo more; exit 1")
    code = tmp_path / "code.so"
    with pytest.raises(BuildError, match=r"could not compile for jetson-orin: .*error: boom") as e:
        cuda.compile_library(tiny, JETSON, code)
    assert "\n" not in str(e.value)
    assert not code.exists()


def test_a_compiler_that_makes_code_for_another_gpu_is_refused(monkeypatch, tmp_path, tiny):
    real = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    wrong = f'for a; do shift; [ "$a" = sm_87 ] && a=sm_80; set -- "$@" "$a"; done; {real} "$@"'
    _fake_nvcc(monkeypatch, tmp_path / "bin", wrong)
    code = tmp_path / "code.so"
    with pytest.raises(BuildError, match="holds sm_80 instead of sm_87"):
        cuda.compile_library(tiny, JETSON, code)
    assert not code.exists()


def test_a_compiler_that_makes_no_code_is_refused(monkeypatch, tmp_path, tiny):
    last = 'while [ "$1" != -o ]; do shift; done; echo // text > "$2"'
    _fake_nvcc(monkeypatch, tmp_path / "bin", last)
    with pytest.raises(BuildError, match="holds no machine code instead of sm_87"):
        cuda.compile_library(tiny, JETSON, tmp_path / "code.so")


def test_the_stand_in_for_the_driver_loads_and_defines_what_tvm_needs(tmp_path):
    """Every driver symbol that TVM's CUDA runtime leaves undefined."""
    import tvm

    runtime = Path(tvm.__file__).parent / "lib" / "libtvm_runtime_cuda.so"
    lines = _output("nm", "-D", "--undefined-only", runtime).splitlines()
    needed = {line.split()[-1] for line in lines if line.split()[-1].startswith("cu")}
    driver = {symbol for symbol in needed if "@libcudart" not in symbol}
    assert driver == set(cuda_compiler.DRIVER_SYMBOLS)
    ctypes.CDLL(str(cuda_compiler.driver_stub(tmp_path)))


SOURCE = """
#include <cuda/std/cstdint>
#include <cuda_fp16.h>
using cuda::std::int64_t;
extern "C" __global__ void f(float* y, half* h, int64_t n) {
  if (threadIdx.x < n) y[threadIdx.x] = expf(y[threadIdx.x]) + INFINITY * float(h[0] * h[1]);
}
"""


def _pip_toolchain(monkeypatch) -> cuda_toolchain.Toolchain:
    with monkeypatch.context() as without_nvcc:
        without_nvcc.setattr(cuda_toolchain, "TOOLKITS", ())
        without_nvcc.setenv("PATH", "")
        try:
            return cuda_toolchain.find_toolchain()
        except BuildError as error:
            missing(f"the other compiler is not installed: {error}")


def test_nvrtc_makes_machine_code(monkeypatch, tmp_path):
    toolchain = _pip_toolchain(monkeypatch)
    for board in (JETSON, H200):
        arch = str(board.target["arch"])
        cubin = tmp_path / arch
        cubin.write_bytes(cuda_compiler.machine_code(SOURCE, toolchain, arch))
        assert f"sm_{min(cuda.machine_code(cubin))}" in arch


def test_nvrtc_names_the_line_at_fault(monkeypatch):
    toolchain = _pip_toolchain(monkeypatch)
    with pytest.raises(BuildError, match=r"kernels.cu\(2\): error"):
        cuda_compiler.machine_code("int x = 1;\nint y = ;", toolchain, "sm_87")


def test_asking_whether_cuda_can_be_built_loads_no_compiler():
    code = (
        "import sys; from adaspring.backends.codegen import cuda; cuda.available();"
        "sys.exit(any(name in sys.modules for name in ('tvm', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _output(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return done.stdout
