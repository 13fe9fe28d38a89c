"""The machine underneath as a board.

`host` with all that its processor can do, `host-opencl` and `host-cuda` its OpenCL and its CUDA
device, `null` one generic core.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Set
from pathlib import Path
from typing import Any, cast

from msgspec import structs

from ..errors import BoardError
from .board import Architecture, Board
from .cuda import cuda_device
from .energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model
from .machine import Machine, read_machine
from .opencl import OPENCL_LIMITS
from .x86 import llvm_cpu

_ARCHITECTURES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

# flag of /proc/cpuinfo → LLVM's attribute; what Cortex-A76 and later have in common, int8 matrix
# products and bfloat16. The baseline, ARMv8-A with Advanced SIMD, needs none.
_ARM_EXTENSIONS = (
    ("asimddp", "dotprod"),
    ("asimdhp", "fullfp16"),
    ("asimdrdm", "rdm"),
    ("atomics", "lse"),
    ("bf16", "bf16"),
    ("i8mm", "i8mm"),
    ("lrcpc", "rcpc"),
)


def host(root: Path = Path("/")) -> Board:
    """Return this machine: every vector extension it has, physical cores, caches, memory."""
    machine = read_machine(root, os.sched_getaffinity(0))
    architecture = this_architecture()
    cpu, features = _best_cpu(architecture, machine.flags)
    return Board(
        name="host",
        description=f"this machine: {machine.model}, {machine.core_count} cores",
        target={**_triple(architecture), **cpu, "num-cores": machine.core_count},
        core_count=machine.core_count,
        cpu_features=features,
        rpc_key="host",
        **_common(architecture, machine),
    )


def host_opencl(root: Path = Path("/")) -> Board:
    """Return this machine's first OpenCL device, by limits that every GPU keeps, unseen.

    A reduction in warps of one thread has no barrier inside a branch, as on Mali.
    """
    here = host(root)
    return structs.replace(
        here,
        name="host-opencl",
        description="this machine's OpenCL device, driven by its processor",
        target={**OPENCL_LIMITS, "host": here.target},
        device="opencl",
        rpc_key="host-opencl",
        sources={
            **here.sources,
            "target": "256 threads in a work-group and 32 KiB of local memory, which all known "
            "GPUs have; the processor: detected, flags of /proc/cpuinfo",
        },
    )


def host_cuda(root: Path = Path("/")) -> Board:
    """Return this machine's first CUDA device; BoardError where there is none."""
    here, device = host(root), cuda_device()
    return structs.replace(
        here,
        name="host-cuda",
        description=f"this machine's {device.name}, driven by its processor",
        target={
            "kind": "cuda",
            "arch": f"sm_{device.capability}",
            "max_num_threads": device.limits["max_threads_per_block"],
            **device.limits,
            "host": here.target,
        },
        device="cuda",
        memory_bytes=device.memory_bytes,
        rpc_key="host-cuda",
        sources={
            **here.sources,
            "target": "detected: NVIDIA's driver; the processor: flags of /proc/cpuinfo",
            "memory_bytes": "detected: NVIDIA's driver",
        },
    )


def null(root: Path = Path("/")) -> Board:
    """Return this machine as a generic one-core board, so that tests need no hardware."""
    machine = read_machine(root, os.sched_getaffinity(0))
    architecture = this_architecture()
    generic = {"mcpu": "x86-64"} if architecture == "x86_64" else {"mcpu": "generic"}
    return Board(
        name="null",
        description="this machine as a generic one-core board",
        target={**_triple(architecture), **generic, "num-cores": 1},
        core_count=1,
        cpu_features=(),
        rpc_key="null",
        **_common(architecture, machine, core_count="one, by definition"),
    )


def this_architecture() -> Architecture:
    """Return this machine's architecture; BoardError where TVM's wheel has no runtime for it."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise BoardError(f"this machine is {machine}; adaspring runs on x86_64 and aarch64")
    return cast(Architecture, _ARCHITECTURES[machine])


def _best_cpu(architecture: str, flags: Set[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    if architecture == "x86_64":
        mcpu, mattr, features = llvm_cpu(flags)
    else:
        used = [(flag, name) for flag, name in _ARM_EXTENSIONS if flag in flags]
        mcpu, mattr = "generic", tuple(f"+{name}" for _, name in used)
        features = ("asimd", *(flag for flag, _ in used))
    return {"mcpu": mcpu, **({"mattr": list(mattr)} if mattr else {})}, features


def _triple(architecture: str) -> dict[str, Any]:
    return {"kind": "llvm", "mtriple": f"{architecture}-linux-gnu"}


def _common(architecture: Architecture, machine: Machine, **sources: str) -> dict[str, Any]:
    return {
        "device": "cpu",
        "architecture": architecture,
        "memory_bytes": machine.memory_bytes,
        "l1_cache_bytes": machine.l1_cache_bytes,
        "l2_cache_bytes": machine.l2_cache_bytes,
        "energy": table_model(idle_w=0.0),
        "sources": {
            "target": "detected: flags of /proc/cpuinfo",
            "cpu_features": "detected: flags of /proc/cpuinfo",
            **machine.sources,
            **TABLE_SOURCES,
            "energy.idle_w": IDLE_NOT_COUNTED,
            **sources,
        },
    }
