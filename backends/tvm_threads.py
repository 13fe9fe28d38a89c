"""TVM's own thread pool, for code that is timed outside a library: candidates, peaks, RPC sessions.

Apps compute on another (`library/native/pool.c`); called without a pause, both take the same time.
"""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

from ..library.native.ffi import tvm_ffi
from ..library.runtime import ROAMING, check_affinity
from ..targets import Affinity
from ..targets.machine import fastest_cpus

_SHARE_CPUS = -3  # kSpecifyThreadShareAllCore: threads roam over the given processors, unpinned
_ONE_CPU_EACH = -2  # kSpecifyOneCorePerThread: the n-th thread stays on the n-th of them
_configured = threading.local()
_allowed = frozenset(os.sched_getaffinity(0))  # asked once: a thread's own may be narrowed below


def use_threads(count: int, affinity: Affinity = ROAMING) -> None:
    """Let this thread's calls of TVM code use `count` processors, at most those of `affinity`.

    TVM keeps a pool for each calling thread, with half of the x86 processors by default; the pool
    takes its size when first used and can shrink but not grow.

    Raises:
        WrongBoard: the affinity names a processor that this process may not use.

    """
    check_affinity(affinity, "the board")
    cpus = affinity.cpus or tuple(sorted(fastest_cpus(Path("/"), _allowed)))
    wanted = min(count, len(cpus))
    # A pool that has more threads than it is given places for would not be pinned.
    _configured.places = max(len(cpus), getattr(_configured, "places", 0))
    places = [str(cpus[index % len(cpus)]) for index in range(_configured.places)]
    mode = _ONE_CPU_EACH if affinity.pinned else _SHARE_CPUS
    tvm_ffi.get_global_func("runtime.config_threadpool")(mode, wanted, places)
    if affinity.pinned:  # TVM pins the pool's own threads, and lets the caller roam over all cpus
        os.sched_setaffinity(0, cpus[:1])
    got = tvm_ffi.get_global_func("runtime.NumThreads")()
    if got != wanted:
        warnings.warn(
            f"this thread's TVM pool was started with {got} threads before adaspring asked for "
            f"{wanted}; ask before other TVM code runs, or in another thread",
            RuntimeWarning,
            stacklevel=2,
        )
