"""A dask cluster of real processes on this machine, to be killed at will."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .waiting import eventually

_SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__SCHEDULER__DASHBOARD": "False",
}


class Cluster:
    """A scheduler on a free port of the loopback, and workers of one thread each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        told = folder / "scheduler.json"
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", told,
        )  # fmt: skip
        assert eventually(lambda: told.exists() and told.stat().st_size, 60), self.said()
        self.address: str = json.loads(told.read_text())["address"]

    def add_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start one; it may take a while until the scheduler knows it."""
        worker = self._start(
            "dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1",
            "--no-dashboard", "--local-directory", self.folder, *options,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, count: int) -> None:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def said(self) -> str:
        return (self.folder / "log").read_text()[-2000:]

    def _start(self, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)],
                stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **_SETTINGS},
                start_new_session=True,
            )  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill -9, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def running(folder: Path, worker_count: int) -> Iterator[Cluster]:
    """A cluster whose workers are ready; whatever is left of it is killed at the end."""
    cluster = Cluster(folder)
    try:
        for _ in range(worker_count):
            cluster.add_worker()
        if worker_count:
            cluster.wait_for_workers(worker_count)
        yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            kill(process)
