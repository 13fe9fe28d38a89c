"""Where building is farmed out: to a cluster that was asked for, else to this machine."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ...backends import candidate_worker
from ...backends.farm import Farm, local_farm
from ...backends.tuning.workbench import WORKER_BYTES
from ..request import Request

# A large network takes a minute or two; what takes longer than this does not end.
_CODE_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Farms:
    """Where the tuner's candidates are built, and whole variants; None is this machine."""

    candidates: Farm | None = None
    code: Farm | None = None


@contextmanager
def farms_of(request: Request) -> Iterator[Farms]:
    """The cluster of a request, for as long as it is worked on.

    Raises:
        BuildError: the cluster does not answer, has no workers, or they have other versions.

    """
    if request.cluster is None:
        yield Farms()
        return
    from ...backends.farm.cluster import cluster_farm  # dask.distributed is an extra

    ready, timeout_s = partial(candidate_worker.start_worker, 1), request.tuning.timeout_s
    with (
        cluster_farm(
            request.cluster, initializer=ready, timeout_s=timeout_s, memory_bytes=WORKER_BYTES
        ) as candidates,
        cluster_farm(request.cluster, initializer=_ready, timeout_s=_CODE_TIMEOUT_S) as code,
    ):
        yield Farms(candidates, code)


def code_farm(jobs_count: int) -> Farm:
    """Worker processes of this machine that compile variants."""
    count = min(jobs_count, len(os.sched_getaffinity(0)))
    return local_farm(count, initializer=_ready, timeout_s=_CODE_TIMEOUT_S)


_ready = partial(importlib.import_module, "adaspring.backends.build")
