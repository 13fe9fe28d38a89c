"""Raspberry Pi 4 Model B: four Cortex-A72, no dot-product instructions."""

from __future__ import annotations

from ..board import Board
from ..cortex import CORTEX_A72_FEATURES
from ..energy import TABLE_SOURCES, table_model

_BCM2711 = "Raspberry Pi documentation, Processors, BCM2711"

RASPBERRY_PI_4 = Board(
    name="raspberry-pi-4",
    description="Raspberry Pi 4 Model B, 4 GB: 4 Cortex-A72, 64-bit Linux",
    target={
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a72",
        "num-cores": 4,
    },
    device="cpu",
    architecture="aarch64",
    core_count=4,
    memory_bytes=4 * 2**30,
    l1_cache_bytes=32 * 2**10,
    l2_cache_bytes=2**20,
    cpu_features=CORTEX_A72_FEATURES,
    energy=table_model(idle_w=3.06),
    rpc_key="raspberry-pi-4",
    sources={
        "target": f"{_BCM2711}; LLVM's name of the core",
        "core_count": _BCM2711,
        "memory_bytes": "Raspberry Pi 4 Model B product brief: the 4 GB model",
        "l1_cache_bytes": f"{_BCM2711}: 32 KB data cache for each core",
        "l2_cache_bytes": f"{_BCM2711}: 1 MB, shared by the cores",
        "cpu_features": "Arm Cortex-A72 TRM: Advanced SIMD; no dot product, no half precision",
        **TABLE_SOURCES,
        "energy.idle_w": "Raspberry Pi documentation, Power supply: 0.6 A when idle, at 5.1 V",
    },
)
