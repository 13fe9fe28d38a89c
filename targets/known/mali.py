"""Arm's Mali GPUs through OpenCL, beside the one of `rock_5b.py`."""

from __future__ import annotations

from typing import Any

from ..board import Board
from ..cortex import CORTEX_A72_FEATURES, CORTEX_A76_FEATURES
from ..energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model
from ..opencl import OPENCL_LIMITS

_LIMITS = (
    "32 KiB of local memory and 256 threads in a work-group, which Arm's Mali OpenCL Developer "
    "Guide gives for Midgard, and what followed allows; one thread in a warp keeps TVM's barriers "
    "out of branches"
)


def _host(cpu: str, cores: int) -> dict[str, Any]:
    return {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": cpu, "num-cores": cores}


def _mali(
    name: str, description: str, host: dict[str, Any], sources: dict[str, str], **facts: Any
) -> Board:
    return Board(
        name=name,
        description=description,
        target={**OPENCL_LIMITS, "device": "mali", "host": host},
        device="opencl",
        architecture="aarch64",
        core_count=host["num-cores"],
        energy=table_model(idle_w=0.0),
        rpc_key=name,
        sources={
            "target": f"{_LIMITS}; the host: LLVM's name of the core",
            **TABLE_SOURCES,
            "energy.idle_w": IDLE_NOT_COUNTED,
            **sources,
        },
        **facts,
    )


_RK3399 = "Rockchip RK3399 datasheet, section 1.2"
ROCKPRO64_MALI = _mali(
    "rockpro64-mali",
    "Pine64 RockPro64, 4 GB: Mali-T860 MP4 of RK3399 (Midgard) through OpenCL 1.2",
    _host("cortex-a72", 2),
    {
        "core_count": f"{_RK3399}: 2 Cortex-A72; the 4 Cortex-A53 beside them are left alone",
        "memory_bytes": "Pine64 RockPro64 product page: the 4 GB model",
        "l1_cache_bytes": "Arm's Midgard architecture: 16 KB load/store cache for each core",
        "l2_cache_bytes": f"{_RK3399}: 256 KB, the GPU's own",
        "cpu_features": "Arm Cortex-A72 TRM: Advanced SIMD; no dot product, no half precision",
    },
    memory_bytes=4 * 2**30,
    l1_cache_bytes=16 * 2**10,
    l2_cache_bytes=256 * 2**10,
    cpu_features=CORTEX_A72_FEATURES,
)

_S922X = "Amlogic S922X datasheet"
ODROID_N2_MALI = _mali(
    "odroid-n2-mali",
    "Hardkernel Odroid-N2+, 4 GB: Mali-G52 MP6 of S922X (Bifrost) through OpenCL 2.0",
    _host("cortex-a73", 4),
    {
        "core_count": f"{_S922X}: 4 Cortex-A73; the 2 Cortex-A53 beside them are left alone",
        "memory_bytes": "Hardkernel Odroid-N2+ product page: the 4 GB model",
        "l1_cache_bytes": "Arm's Bifrost architecture: 16 KB load/store cache for each core",
        "l2_cache_bytes": "not known: taken as 256 KB, in the middle of what Arm offers for G52",
        "cpu_features": "Arm Cortex-A73 TRM: Advanced SIMD; no dot product, no half precision",
    },
    memory_bytes=4 * 2**30,
    l1_cache_bytes=16 * 2**10,
    l2_cache_bytes=256 * 2**10,
    cpu_features=CORTEX_A72_FEATURES,
)

_TENSOR = "Google Tensor (2021), as Pixel 6's specifications give it"
MALI_G78 = _mali(
    "mali-g78",
    "Mali-G78 MP20 of Google Tensor (Valhall) through OpenCL 3.0, under a 64-bit Linux with glibc",
    _host("cortex-a76", 4),
    {
        "core_count": f"{_TENSOR}: 2 Cortex-X1 and 2 Cortex-A76; the 4 Cortex-A55 are left alone",
        "memory_bytes": f"{_TENSOR}: 8 GB",
        "l1_cache_bytes": "Arm Valhall: 16 KB load/store cache for each shader core",
        "l2_cache_bytes": "not known: taken as 1 MB, within what Arm offers for G78",
        "cpu_features": "Arm Cortex-A76 TRM, the older of its cores: Armv8.2-A with dot product",
    },
    memory_bytes=8 * 2**30,
    l1_cache_bytes=16 * 2**10,
    l2_cache_bytes=2**20,
    cpu_features=CORTEX_A76_FEATURES,
)
