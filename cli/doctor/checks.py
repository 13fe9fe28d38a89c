"""The checks of `adaspring doctor`; none of them imports the compiler."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from ...errors import AdaspringError, RuntimeMissing
from ...targets import host, host_opencl
from ...targets.cuda import cuda_device

_LEAST_PYTHON = (3, 11)
# name, operator and version, extra: 'apache-tvm==0.27.0.post1; extra == "compiler"'
_REQUIREMENT = re.compile(r"([\w.-]+)\s*([^;]*?)\s*(?:;.*extra\s*==\s*[\"'](\w+)[\"'])?")
_COMPILER = ("apache-tvm", "torch")  # either of them, and networks are to be compiled here
_NEEDED_EXTRAS = (None, "compiler")
_OPTIONAL_EXTRAS = ("demo",)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at; `todo` says what to do where it is not ok."""

    name: str
    status: Literal["ok", "missing", "wrong"]
    detail: str
    todo: str = ""
    essential: bool = True


def check_all() -> tuple[Check, ...]:
    """Check everything, in the order in which it is worth mending."""
    app_side = is_app_side()
    return (
        check_python(),
        *check_packages(app_side),
        check_runtime(app_side),
        check_processor(),
        *(check_linker(architecture, app_side) for architecture in ("x86_64", "aarch64")),
        check_cuda(),
        check_cuda_device(),
        check_opencl(),
    )


def check_python() -> Check:
    """Check the interpreter's version."""
    least = ".".join(map(str, _LEAST_PYTHON))
    if sys.version_info < _LEAST_PYTHON:
        todo = f"use Python {least} or later"
        return Check(name="python", status="wrong", detail=platform.python_version(), todo=todo)
    return Check(name="python", status="ok", detail=f"{platform.python_version()} (≥ {least})")


def check_packages(app_side: bool) -> tuple[Check, ...]:
    """Check what adaspring's own metadata asks for; pins are compared."""
    needed = _NEEDED_EXTRAS[:1] if app_side else _NEEDED_EXTRAS
    try:
        asked = requires("adaspring") or []
    except PackageNotFoundError:
        todo = "install it: pip install -e '.[compiler]' in the checkout"
        return (Check(name="adaspring", status="missing", detail="not installed", todo=todo),)
    found = []
    for text in asked:
        match = _REQUIREMENT.fullmatch(text)
        if match and match[3] in (*_NEEDED_EXTRAS, *_OPTIONAL_EXTRAS):
            found.append(check_package(match[1], match[2], essential=match[3] in needed))
    return tuple(found)


def check_package(name: str, specifier: str, *, essential: bool) -> Check:
    """Check one package: there, and if it is pinned, in that version."""
    todo = f"pip install '{name}{specifier}'"
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Check(
            name=name, status="missing", detail="not installed", todo=todo, essential=essential
        )
    detail = f"{installed} ({specifier})" if specifier else installed
    if specifier.startswith("==") and installed != specifier.removeprefix("=="):
        return Check(name=name, status="wrong", detail=detail, todo=todo, essential=essential)
    return Check(name=name, status="ok", detail=detail, essential=essential)


def is_app_side() -> bool:
    """Whether nothing of the compiler is installed: libraries are run here, not made."""
    return not any(_is_installed(name) for name in _COMPILER)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def check_runtime(app_side: bool) -> Check:
    """Find the libtvm_runtime that is packed, or that libraries without a packed one run on."""
    path = _installed_runtime()
    if path is None:
        todo = "reinstall apache-tvm in the version above"
        if app_side:
            todo = "libraries for CPU boards bring it along; for others pip install apache-tvm"
        return Check(
            name="libtvm_runtime",
            status="missing",
            detail="not found",
            todo=todo,
            essential=not app_side,
        )
    return Check(name="libtvm_runtime", status="ok", detail=str(path))


def _installed_runtime() -> Path | None:
    from ...library.runtime import installed_tvm

    package = installed_tvm()
    path = None if package is None else package / "lib" / "libtvm_runtime.so"
    return path if path is not None and path.is_file() else None


def check_processor() -> Check:
    """Detect the board `host`."""
    try:
        board = host()
    except AdaspringError as error:
        return Check(name="processor", status="wrong", detail=str(error), todo="name a board")
    features = " ".join(board.cpu_features[-8:])
    return Check(
        name="processor",
        status="ok",
        detail=f"{board.description}; LLVM's {board.target['mcpu']}; "
        f"{board.core_count} threads; … {features}",
    )


def check_linker(architecture: str, app_side: bool) -> Check:
    """Find what links code for an architecture; needed for this machine's own."""
    from ...backends.codegen.link import find_linker

    name = f"linker for {architecture}"
    essential = platform.machine() == architecture and not app_side
    try:
        return Check(name=name, status="ok", detail=find_linker(architecture), essential=essential)
    except AdaspringError as error:
        return _missing(name, str(error), essential=essential)


def check_cuda() -> Check:
    """Tell whether libraries for CUDA boards can be built; no GPU is needed for that."""
    from ...backends.codegen import cuda

    reason = cuda.available()
    if reason is None:
        return Check(name="CUDA builds", status="ok", detail="possible", essential=False)
    return _missing("CUDA builds", reason)


def check_cuda_device() -> Check:
    """Tell whether libraries for this machine's CUDA device run here, and which it is."""
    from ...library.devices.cuda import load_cudart

    try:
        device = cuda_device()
        load_cudart()
    except AdaspringError as error:
        return _missing("CUDA", str(error))
    return Check(name="CUDA", status="ok", detail=device.name, essential=False)


def check_opencl() -> Check:
    """Tell whether libraries for OpenCL boards run here, and on which device.

    The runtime for them is compiled where it is not yet.
    """
    from ...library.opencl import plugin

    path = _installed_runtime()
    try:
        board = host_opencl()
        if path is None:
            raise RuntimeMissing("no TVM runtime; pip install apache-tvm in the version above")
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        plugin.start(board.target, board.name)
        return Check(name="OpenCL", status="ok", detail=plugin.device_name(), essential=False)
    except (AdaspringError, OSError) as error:
        return _missing("OpenCL", str(error))


def _missing(name: str, reason: str, *, essential: bool = False) -> Check:
    """What is not here, by an error that says why, then what to do."""
    what, _, todo = reason.partition("; ")
    return Check(name=name, status="missing", detail=what, todo=todo, essential=essential)
