"""Radxa Rock 5B (RK3588): its four Cortex-A76, and its Mali-G610 through OpenCL."""

from __future__ import annotations

from ..board import Board
from ..cortex import CORTEX_A76_FEATURES, CORTEX_A76_SOURCE
from ..energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model
from ..opencl import OPENCL_LIMITS

_RK3588 = "Rockchip RK3588 datasheet, section 1.2"
_MALI = "OpenCL's device report (clinfo) of Mali-G610 r0p0, RK3588"
_HOST = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76", "num-cores": 4}
_COMMON_SOURCES = {
    "core_count": f"{_RK3588}: 4 Cortex-A76; the 4 Cortex-A55 beside them are left alone, "
    "since a parallel loop waits for its slowest core",
    "memory_bytes": "Radxa Rock 5B product page: the 8 GB model",
    "cpu_features": CORTEX_A76_SOURCE,
    **TABLE_SOURCES,
    "energy.idle_w": IDLE_NOT_COUNTED,
}

ROCK_5B = Board(
    name="rock-5b",
    description="Radxa Rock 5B, 8 GB: the 4 Cortex-A76 of RK3588, 64-bit Linux",
    target=_HOST,
    device="cpu",
    architecture="aarch64",
    core_count=4,
    memory_bytes=8 * 2**30,
    l1_cache_bytes=64 * 2**10,
    l2_cache_bytes=512 * 2**10,
    cpu_features=CORTEX_A76_FEATURES,
    energy=table_model(idle_w=0.0),
    rpc_key="rock-5b",
    sources={
        "target": f"{_RK3588}; LLVM's name of the core",
        "l1_cache_bytes": f"{_RK3588}: 64 KB data cache for each Cortex-A76",
        "l2_cache_bytes": f"{_RK3588}: 512 KB for each Cortex-A76",
        **_COMMON_SOURCES,
    },
)

ROCK_5B_MALI = Board(
    name="rock-5b-mali",
    description="Radxa Rock 5B, 8 GB: Mali-G610 MP4 of RK3588 through OpenCL 3.0",
    target={**OPENCL_LIMITS, "device": "mali", "host": _HOST},
    device="opencl",
    architecture="aarch64",
    core_count=4,
    memory_bytes=8 * 2**30,
    l1_cache_bytes=16 * 2**10,
    l2_cache_bytes=2**20,
    cpu_features=CORTEX_A76_FEATURES,
    energy=table_model(idle_w=0.0),
    rpc_key="rock-5b-mali",
    sources={
        "target": f"{_MALI}: 32 KiB of local memory; 256 threads in a work-group, below the "
        "device's limit, since a kernel that needs many registers is allowed fewer; one thread in "
        "a warp keeps TVM's barriers out of branches",
        "l1_cache_bytes": "Arm Valhall: 16 KB load/store cache for each shader core",
        "l2_cache_bytes": f"{_MALI}: global memory cache",
        **_COMMON_SOURCES,
    },
)
