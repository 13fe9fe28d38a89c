"""What runs inside a dask worker: each call goes on to an isolated process of that host.

A dask worker runs its tasks in threads of one process; there a call that crashes would take the
others with it, and one that hangs could not be ended.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from .farm import Farm
from .local import local_farm


@dataclass(frozen=True)
class Rules:
    """Which program's calls these are, and how they are run; as for `local_farm`."""

    program: str
    initializer: Callable[[], object] | None
    timeout_s: float
    memory_bytes: int | None


@dataclass
class _HostedFarm:
    """The processes for one program, and how many of its calls they are at."""

    farm: Farm
    calls_count: int = 0


_farms: dict[str, _HostedFarm] = {}
_lock = threading.Lock()


def run_isolated(
    rules: Rules, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Carry out one call in a process of its own."""
    with _lock:
        if rules.program not in _farms:
            _start(rules)
        hosted = _farms[rules.program]
        hosted.calls_count += 1
    try:
        return hosted.farm.submit(function, *args, **kwargs).result()
    finally:
        with _lock:
            hosted.calls_count -= 1


def end(program: str) -> None:
    """End the processes for one program."""
    with _lock:
        hosted = _farms.pop(program, None)
    if hosted is not None:
        hosted.farm.close()


def _start(rules: Rules) -> None:
    """Start as many processes as the dask worker has threads; idle ones of others make room."""
    for program in [name for name, hosted in _farms.items() if not hosted.calls_count]:
        _farms.pop(program).farm.close()  # that program was killed, or will ask again
    # dask marks its workers as daemons, which may have no children lest they are left behind.
    # Ours are not: they end with their parent.
    multiprocessing.current_process().daemon = False
    _farms[rules.program] = _HostedFarm(
        local_farm(
            get_worker().state.nthreads,
            initializer=rules.initializer,
            timeout_s=rules.timeout_s,
            memory_bytes=rules.memory_bytes,
        )
    )
