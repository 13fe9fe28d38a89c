"""Raspberry Pi 5: four Cortex-A76 with int8 dot product and half precision."""

from __future__ import annotations

from ..board import Board
from ..cortex import CORTEX_A76_FEATURES, CORTEX_A76_SOURCE
from ..energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model

_BCM2712 = "Raspberry Pi documentation, Processors, BCM2712"

RASPBERRY_PI_5 = Board(
    name="raspberry-pi-5",
    description="Raspberry Pi 5, 8 GB: 4 Cortex-A76, 64-bit Linux",
    target={
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a76",
        "num-cores": 4,
    },
    device="cpu",
    architecture="aarch64",
    core_count=4,
    memory_bytes=8 * 2**30,
    l1_cache_bytes=64 * 2**10,
    l2_cache_bytes=512 * 2**10,
    cpu_features=CORTEX_A76_FEATURES,
    energy=table_model(idle_w=0.0),
    rpc_key="raspberry-pi-5",
    sources={
        "target": f"{_BCM2712}; LLVM's name of the core",
        "core_count": _BCM2712,
        "memory_bytes": "Raspberry Pi 5 product brief: the 8 GB model",
        "l1_cache_bytes": f"{_BCM2712}: 64 KB data cache for each core",
        "l2_cache_bytes": f"{_BCM2712}: 512 KB for each core",
        "cpu_features": CORTEX_A76_SOURCE,
        **TABLE_SOURCES,
        "energy.idle_w": IDLE_NOT_COUNTED,
    },
)
