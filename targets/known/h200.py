"""NVIDIA H200: Hopper GPU, sm_90a, in an x86-64 server."""

from __future__ import annotations

from ..board import Board
from ..energy import IDLE_NOT_COUNTED, TABLE_SOURCES, table_model
from ..x86 import LEVELS

_SHEET = "NVIDIA H200 Tensor Core GPU datasheet"
_WHITE = "NVIDIA H100 Tensor Core GPU Architecture whitepaper (the same GH100 chip)"
_GUIDE = "CUDA C++ Programming Guide, compute capability 9.0"

H200 = Board(
    name="h200",
    description="NVIDIA H200, 141 GB: Hopper GPU sm_90a, x86-64 host",
    target={
        "kind": "cuda",
        "arch": "sm_90a",
        "max_threads_per_block": 1024,
        "max_num_threads": 1024,
        "max_shared_memory_per_block": 48 * 2**10,
        "registers_per_block": 65536,
        "thread_warp_size": 32,
        "l2_cache_size_bytes": 50 * 2**20,
        "host": {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"},
    },
    device="cuda",
    architecture="x86_64",
    core_count=1,
    memory_bytes=141 * 10**9,
    l1_cache_bytes=256 * 2**10,
    l2_cache_bytes=50 * 2**20,
    cpu_features=LEVELS["x86-64-v3"],
    energy=table_model(idle_w=0.0),
    rpc_key="h200",
    sources={
        "target": f"{_GUIDE}: 1024 threads and 65536 registers in a block, 48 KB of static shared "
        "memory, warps of 32",
        "core_count": "one host thread feeds the GPU; servers differ",
        "memory_bytes": f"{_SHEET}: 141 GB of HBM3e",
        "l1_cache_bytes": f"{_WHITE}: 256 KB for each streaming multiprocessor",
        "l2_cache_bytes": f"{_WHITE}: 50 MB",
        "cpu_features": "System V psABI, x86-64-v3: every server that an H200 is sold in",
        **TABLE_SOURCES,
        "energy.idle_w": IDLE_NOT_COUNTED,
    },
)
