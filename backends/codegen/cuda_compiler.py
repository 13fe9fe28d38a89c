"""Let this process's TVM compile CUDA source into machine code, by the toolchain that is here."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from functools import cache
from pathlib import Path

import tvm_ffi

from ...errors import BuildError
from ...files.replace import TemporaryFolder
from ...library.devices.start import load_cuda
from .cuda_toolchain import Toolchain, find_toolchain
from .link import find_linker

# What libtvm_runtime_cuda.so takes from the driver; compiling calls none of it.
DRIVER_SYMBOLS = (
    "cuDeviceGetName",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuLaunchKernelEx",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuTensorMapEncodeTiled",
)


def start(arch: str) -> None:
    """Compile for `arch` from now on, in this process.

    Raises:
        BuildError: there is no compiler, or something that it needs.
        RuntimeMissing: TVM's CUDA runtime cannot be loaded.

    TVM compiles CUDA only while its CUDA runtime is loaded. Without a driver that is loaded beside
    a stand-in for it, so such a process must not call the device.

    """
    toolchain = _load()

    def compile_source(source: str) -> bytes:
        return machine_code(source, toolchain, arch)

    tvm_ffi.register_global_func("tvm_callback_cuda_compile", compile_source, override=True)


@cache
def _load() -> Toolchain:
    """Load TVM's CUDA runtime and what it needs; give what compiles."""
    toolchain = find_toolchain()
    load_runtime(toolchain.cudart)
    load_cuda()
    return toolchain


def load_runtime(cudart: str) -> None:
    """Load the driver, or a stand-in where there is none, and the CUDA runtime."""
    try:
        ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    except OSError:
        with TemporaryFolder("cuda") as folder:
            ctypes.CDLL(str(driver_stub(Path(folder))), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(cudart, ctypes.RTLD_GLOBAL)


def driver_stub(folder: Path) -> Path:
    """Link a libcuda.so.1 in which every symbol is null: enough to load, a crash to call."""
    linker_name = find_linker(platform.machine())
    data, item, stub = (str(folder / name) for name in ("data", "data.o", "libcuda.so.1"))
    Path(data).write_bytes(b"\0")
    symbols = [f"--defsym={symbol}=0" for symbol in DRIVER_SYMBOLS]
    for command in (
        [linker_name, "-r", "-b", "binary", "-o", item, data],
        [linker_name, "-shared", "-soname", "libcuda.so.1", "-o", stub, item, *symbols],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return Path(stub)


def machine_code(source: str, toolchain: Toolchain, arch: str) -> bytes:
    """Compile CUDA source to a cubin; exact arithmetic, not the fast approximations."""
    return (_nvcc if toolchain.kind == "nvcc" else _nvrtc)(source, toolchain, arch)


def _nvcc(source: str, toolchain: Toolchain, arch: str) -> bytes:
    with TemporaryFolder("cuda") as folder:
        written, cubin = f"{folder}/kernels.cu", f"{folder}/kernels.cubin"
        Path(written).write_text(source)
        command = [toolchain.compiler, "--cubin", "-O3", "-arch", arch, "-o", cubin, written]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{toolchain.compiler}: {_first_error(done.stderr + done.stdout)}")
        return Path(cubin).read_bytes()


def _nvrtc(source: str, toolchain: Toolchain, arch: str) -> bytes:
    """By NVRTC's C interface (CUDA 13, "NVRTC", section 3)."""
    nvrtc = ctypes.CDLL(toolchain.compiler)
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = [f"--gpu-architecture={arch}", "-default-device", "--device-int128"]
    options += ["-DINFINITY=__int_as_float(0x7f800000)", "-DNAN=__int_as_float(0x7fffffff)"]
    options += [f"-I{folder}" for folder in toolchain.include_dirs]
    argv = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))

    def check(status: int) -> None:
        if status:
            raise BuildError(f"{toolchain.compiler}: NVRTC error {status}")

    text = source.encode()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None))
    if nvrtc.nvrtcCompileProgram(program, len(options), argv):
        check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        check(nvrtc.nvrtcGetProgramLog(program, log))
        raise BuildError(f"{toolchain.compiler}: {_first_error(log.value.decode())}")
    check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    cubin = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetCUBIN(program, cubin))
    check(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    return cubin.raw


def _first_error(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
