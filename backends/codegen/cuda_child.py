"""The child process that compiles CUDA: loads what is missing before tvm is imported.

`python -m adaspring.backends.codegen.cuda_child` reads one request of `cuda.compile_library` from
its standard input and writes the library; where that fails, standard error ends in one line.
"""

from __future__ import annotations

import ctypes
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ...errors import AdaspringError, BuildError
from .cuda_toolchain import Toolchain
from .link import find_linker, linker

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


def main() -> None:
    """Serve the request on standard input."""
    request = json.load(sys.stdin)
    try:
        compile_request(request)
    except AdaspringError as error:
        sys.exit(str(error))
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error).strip().splitlines()[-1])


def compile_request(request: dict[str, Any]) -> None:
    """Compile the request's module and link it."""
    toolchain = Toolchain(**request["toolchain"])
    load_runtime(toolchain.cudart)
    import tvm  # only now: it loads its CUDA runtime when it is imported
    import tvm_ffi
    from tvm import relax
    from tvm.base import _LOADED_LIBS

    from . import tir_pipeline

    if "tvm_runtime_cuda" not in _LOADED_LIBS:
        raise BuildError("TVM's CUDA runtime did not load; reinstall apache-tvm==0.27.0.post1")
    target = tvm.target.Target(request["target"])
    arch = str(request["target"]["arch"])

    def compile_source(source: str) -> bytes:
        return machine_code(source, toolchain, arch)

    tvm_ffi.register_global_func("tvm_callback_cuda_compile", compile_source, override=True)
    with target:
        module = tvm.ir.load_json(request["module"])
        executable = relax.build(
            module, target, relax_pipeline=None, tir_pipeline=tir_pipeline.register()
        )
    executable.export_library(request["code"], fcompile=linker(request["architecture"]))


def load_runtime(cudart: str) -> None:
    """Load the driver, or a stand-in where there is none, and the CUDA runtime."""
    try:
        ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    except OSError:
        with tempfile.TemporaryDirectory() as folder:
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
    with tempfile.TemporaryDirectory() as folder:
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


if __name__ == "__main__":
    main()
