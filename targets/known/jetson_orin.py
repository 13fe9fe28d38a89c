"""NVIDIA Jetson AGX Orin: Ampere GPU, sm_87; the code runs on Orin NX and Orin Nano too."""

from __future__ import annotations

from ..board import Board
from ..cortex import CORTEX_A76_FEATURES, CORTEX_A78_SOURCE
from ..energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model

_BRIEF = "NVIDIA Jetson AGX Orin Series Technical Brief v1.2"
_GUIDE = "CUDA C++ Programming Guide, compute capability 8.7"

JETSON_ORIN = Board(
    name="jetson-orin",
    description="NVIDIA Jetson AGX Orin, 64 GB: Ampere GPU sm_87, 12 Cortex-A78AE",
    target={
        "kind": "cuda",
        "arch": "sm_87",
        "max_threads_per_block": 1024,
        "max_num_threads": 1024,
        "max_shared_memory_per_block": 48 * 2**10,
        "registers_per_block": 65536,
        "thread_warp_size": 32,
        "l2_cache_size_bytes": 4 * 2**20,
        "host": {
            "kind": "llvm",
            "mtriple": "aarch64-linux-gnu",
            "mcpu": "cortex-a78",
            "num-cores": 12,
        },
    },
    device="cuda",
    architecture="aarch64",
    core_count=12,
    memory_bytes=64 * 2**30,
    l1_cache_bytes=192 * 2**10,
    l2_cache_bytes=4 * 2**20,
    cpu_features=CORTEX_A76_FEATURES,
    energy=table_model(idle_w=0.0),
    rpc_key="jetson-orin",
    sources={
        "target": f"{_GUIDE}: 1024 threads and 65536 registers in a block, 48 KB of static shared "
        "memory, warps of 32",
        "core_count": f"{_BRIEF}: the host's cores",
        "memory_bytes": f"{_BRIEF}: shared by CPU and GPU",
        "l1_cache_bytes": f"{_BRIEF}: 192 KB for each streaming multiprocessor",
        "l2_cache_bytes": f"{_BRIEF}: 4 MB on the GPU",
        "cpu_features": CORTEX_A78_SOURCE,
        **TABLE_SOURCES,
        "energy.idle_w": IDLE_NOT_COUNTED,
    },
)
