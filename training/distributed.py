"""Training in many processes: who they are, what they add up, how they are started again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import AdaspringError, TrainingError
from ..files.replace import TemporaryFolder
from ..reference.device import best_device

Result = TypeVar("Result")

WAIT_S = 3600
"""How long a process waits for the others, who may compress, before it gives them up.

A process that is lost is noticed by torchrun at once; this is for hosts that fall silent.
"""

RESTARTS = 3
"""How often lost processes are started again by `launch`."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which of how many processes this one is; `local` counts on this host."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def is_leader(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.rank == 0

    def device(self) -> torch.device:
        """Return the device of this process."""
        return best_device(self.local)

    def total(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Add up numbers over all processes."""
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        if self.count > 1:
            dist.all_reduce(summed)
        return [float(value) for value in summed]

    def gathered(self, values: Sequence[Result]) -> list[Result]:
        """Put what all processes have one after another, in every process."""
        if self.count == 1:
            return list(values)
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, list(values))
        return [value for part in parts for value in part]

    def shared(self, network: nn.Module, reads_all: bool) -> nn.Module:
        """Wrap a module so that gradients are the mean over all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, find_unused_parameters=not reads_all)

    def from_leader(self, make: Callable[[], Result]) -> Result:
        """Let the leading process make a value and send it to the others, or its error."""
        if self.count == 1:
            return make()
        sent: list[Any] = [None, None]
        if self.is_leader:
            try:
                sent[0] = make()
            except AdaspringError as error:
                sent[1] = error
        dist.broadcast_object_list(sent)
        if sent[1] is not None:
            raise sent[1]
        return sent[0]


def started_by_torchrun() -> bool:
    """Whether this process is one of those that torchrun started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def join_group() -> Iterator[Ranks]:
    """Join the group that torchrun's environment describes; alone without one.

    Gloo on CPUs, NCCL on GPUs.
    """
    if not started_by_torchrun():
        yield Ranks()
        return
    ranks = Ranks(
        rank=int(os.environ["RANK"]),
        count=int(os.environ["WORLD_SIZE"]),
        local=int(os.environ.get("LOCAL_RANK", "0")),
    )
    device = ranks.device()
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    dist.init_process_group(backend, timeout=timedelta(seconds=WAIT_S))
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def launch(function: Callable[..., Result], args: Sequence[object], count: int) -> Result:
    """Call a module-level function in `count` processes of this host; give the first's result.

    Where one is lost, all are stopped and the function is called again in all, `RESTARTS` times at
    most; so it must take up its own work where it was.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with TemporaryFolder("training") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            run_id=uuid4().hex,
            max_restarts=RESTARTS,
            monitor_interval=0.2,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            with _own_store_for_each_attempt():
                results = elastic_launch(config, function)(*args)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise TrainingError(
                f"training in {count} processes was started {RESTARTS + 1} times and failed each "
                f"time; last, process {rank} ended with status {failure.exitcode}"
            ) from error
    return results[0]


@contextmanager
def _own_store_for_each_attempt() -> Iterator[None]:
    """Keep processes that were started again from reading the addresses of those before.

    By default torch 2.13 shares one store between attempts (pytorch/pytorch issue 135712).
    """
    name = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
