"""What kernels in OpenCL C are held to."""

from __future__ import annotations

from types import MappingProxyType

# A warp of one thread makes TVM put a barrier between all steps of a reduction, outside of any
# branch. With 16, Mali's true width, its barriers stand inside `if (local_id < 16)`: that is
# undefined in OpenCL, and reductions may come out wrong.
OPENCL_LIMITS = MappingProxyType(
    {
        "kind": "opencl",
        "max_threads_per_block": 256,
        "max_num_threads": 256,
        "max_shared_memory_per_block": 32 * 2**10,
        "thread_warp_size": 1,
    }
)
