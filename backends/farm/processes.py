"""Worker processes as a farm starts them: apart from the program that started it, and pausable."""

from __future__ import annotations

import multiprocessing.spawn
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_main_lock = threading.Lock()


class Workers(SpawnContext):
    """The multiprocessing context of one pool: it knows the processes that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[WorkerProcess] = []
        self._steady = threading.Lock()
        self._paused_s = 0.0
        self._pause_began_s: float | None = None

    def Process(self, **settings: Any) -> WorkerProcess:  # type: ignore[override]  # noqa: N802
        """A worker process, not yet started."""
        return WorkerProcess(self, **settings)

    def start(self, worker: WorkerProcess) -> None:
        """Start a worker, after the pause if there is one."""
        with self._steady, _block_interrupts(), _hide_main():
            SpawnProcess.start(worker)
            self._started = [other for other in self._started if other.exitcode is None]
            self._started.append(worker)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stop every worker, and let none start, until the block is left."""
        with self._steady:
            self._pause_began_s = time.monotonic()
            try:
                self._tell(signal.SIGSTOP)
                yield
            finally:
                self._tell(signal.SIGCONT)
                self._paused_s, self._pause_began_s = self.paused_s, None

    @property
    def paused_s(self) -> float:
        """Seconds of all pauses so far, the present one included."""
        began_s = self._pause_began_s
        return self._paused_s + (0.0 if began_s is None else time.monotonic() - began_s)

    def end(self) -> None:
        """Kill every worker that still runs, one that is just starting too, and see it gone."""
        with self._steady:
            self._tell(signal.SIGKILL)
            for worker in self._started:
                worker.join()

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._started:
            if worker.exitcode is None and worker.pid is not None:
                os.kill(worker.pid, number)


class WorkerProcess(SpawnProcess):
    """A process of a farm; it holds nothing that would be lost by killing it."""

    def __init__(self, workers: Workers, **settings: Any) -> None:
        super().__init__(**settings)
        self._workers: Workers | None = workers

    def start(self) -> None:
        """Start, unless the farm is paused: then after that."""
        assert self._workers is not None
        self._workers.start(self)

    def terminate(self) -> None:
        """Kill: native code would not hear anything milder before it returns."""
        self.kill()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_workers": None}


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Ctrl-C reaches the whole process group; what starts meanwhile never hears it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _hide_main() -> Iterator[None]:
    """Keep multiprocessing from running the program's main file again in what starts meanwhile.

    Jobs are functions of modules, and a script without `if __name__ == "__main__"` would do its
    whole work once more in every worker.
    """
    with _main_lock:
        original = multiprocessing.spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            data = original(name)
            return {key: data[key] for key in data if not key.startswith("init_main")}

        multiprocessing.spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            multiprocessing.spawn.get_preparation_data = original
