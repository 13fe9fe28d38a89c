"""The farm of this machine: warm processes, each call apart from all others."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from ...files.replace import TemporaryFolder
from .farm import Farm, JobLost
from .processes import Workers
from .worker import OUT_OF_MEMORY_STATUS, Outcome, Setting, call, log_file, start

_ATTEMPTS = 2
# How often the keeper looks whether the pool broke, while nothing is submitted.
_LOOK_S = 0.5
# What the C library, C++ and LLVM say before they give up.
_MEMORY_WORDS = ("out of memory", "bad_alloc", "allocation failed", "cannot allocate memory")


def local_farm(
    worker_count: int,
    *,
    initializer: Callable[[], object] | None = None,
    timeout_s: float,
    memory_bytes: int | None = None,
) -> Farm:
    """Start `worker_count` processes, each made ready by `initializer`, which must be picklable.

    A call may take `timeout_s` and a worker `memory_bytes` of data; a call that takes more, or
    that crashes, is lost, and a fresh worker takes the place of its own.
    """
    return LocalFarm(worker_count, initializer, timeout_s, memory_bytes)


@dataclass(eq=False)
class _Job:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)
    attempts: int = 0
    paused_before_s: float = 0.0


class LocalFarm(Farm):
    """See `local_farm`. One thread, the keeper, owns the pool of processes.

    The kernel ends a worker when the thread that started it ends (see `worker.start`), so that
    thread must not be whichever submits first. And a pool breaks where a worker dies between two
    calls; the keeper makes another, and what was under way is done again, once. Calls that a pool
    had not yet looked at when it broke it forgets; the keeper does not.
    """

    def __init__(
        self,
        worker_count: int,
        initializer: Callable[[], object] | None,
        timeout_s: float,
        memory_bytes: int | None,
    ) -> None:
        self.width = worker_count
        self._timeout_s = timeout_s
        self._temporary = TemporaryFolder("farm")
        self._folder = Path(self._temporary.name)
        self._setting = Setting(os.getpid(), self._folder, memory_bytes, initializer)
        pickle.dumps(initializer)  # now, for whoever gave it, not later in a worker
        self._workers = Workers()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._handed_out: set[Future[Outcome]] = set()
        self._open: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._keeper = threading.Thread(target=self._keep, name="farm", daemon=True)
        self._keeper.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in a worker; cancelling the future ends it there, even while it runs."""
        job = _Job(fn, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("the farm is closed")
            self._open.add(job.future)
        job.future.add_done_callback(self._forget)
        self._queue.put(job)
        return job.future

    def pause(self) -> AbstractContextManager[None]:
        """Stop all workers meanwhile."""
        return self._workers.pause()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, once all calls are done, or at once with `cancel_futures`."""
        with self._lock:
            self._closed = True
            pending = list(self._open)
        if cancel_futures:
            for future in pending:
                future.cancel()
        ending = threading.Thread(target=self._end, args=(pending,), daemon=True)
        ending.start()
        if wait:
            ending.join()

    def _end(self, pending: list[Future[Any]]) -> None:
        wait(pending)
        self._queue.put(None)
        self._keeper.join()
        self._temporary.cleanup()

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._open.discard(future)

    def _keep(self) -> None:
        try:
            self._hand_out()
        except (OSError, RuntimeError) as error:  # no process could be started
            with self._lock:
                self._closed = True
                pending = list(self._open)
            for future in pending:
                if future.set_running_or_notify_cancel():
                    future.set_exception(JobLost(f"the workers do not start: {error}"))

    def _hand_out(self) -> None:
        """Hand calls to the pool until the end; another pool where it broke."""
        pool: ProcessPool | None = self._new_pool()
        ended = False
        while not ended:
            job = None
            with contextlib.suppress(queue.Empty):
                job = self._queue.get(timeout=_LOOK_S)
                ended = job is None
            if pool is not None and (ended or not pool.active):
                self._stop(pool)
                pool = None
            if job is not None:
                pool = pool or self._new_pool()
                self._schedule(pool, job)

    def _stop(self, pool: ProcessPool) -> None:
        """End a pool, its workers first: it takes their locks away before it kills them.

        One that is just starting would find its lock gone, and say so on the user's terminal.
        """
        pool.stop()
        self._workers.end()
        pool.join()
        for forgotten in tuple(self._handed_out):
            with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                forgotten.set_exception(BrokenProcessPool("the pool broke before it began"))

    def _new_pool(self) -> ProcessPool:
        pool = ProcessPool(
            self.width, initializer=start, initargs=(self._setting,), context=self._workers
        )
        pool.active  # noqa: B018 - asking it starts the workers, from this thread
        return pool

    def _schedule(self, pool: ProcessPool, job: _Job) -> None:
        if job.future.cancelled():
            job.future.set_running_or_notify_cancel()
            return
        job.paused_before_s = self._workers.paused_s
        payload = (job.function, job.args, job.kwargs)
        try:
            inner = pool.schedule(call, args=payload, timeout=self._timeout_s)
        except RuntimeError:  # it broke just now
            self._queue.put(job)
            return
        self._handed_out.add(inner)
        inner.add_done_callback(lambda done: self._complete(job, done))
        job.future.add_done_callback(lambda done: done.cancelled() and inner.cancel())

    def _complete(self, job: _Job, inner: Future[Outcome]) -> None:
        """Give the caller's future what the pool's one got."""
        self._handed_out.discard(inner)
        job.attempts += 1
        error = None if inner.cancelled() else inner.exception()
        if self._is_blameless(job, error) and job.attempts < _ATTEMPTS:
            self._queue.put(job)
            return
        if not job.future.set_running_or_notify_cancel():
            return
        if error is not None:
            job.future.set_exception(self._describe_loss(error))
        elif (outcome := inner.result()).error is not None:
            job.future.set_exception(outcome.error)
        else:
            job.future.set_result(outcome.value)

    def _is_blameless(self, job: _Job, error: BaseException | None) -> bool:
        """Whether a call was lost to what others did: its pool broke, or a pause took its time."""
        if isinstance(error, TimeoutError):
            return self._workers.paused_s - job.paused_before_s > self._timeout_s / 2
        return isinstance(error, BrokenProcessPool)

    def _describe_loss(self, error: BaseException) -> BaseException:
        """The error of a call that gave no result."""
        if isinstance(error, TimeoutError):
            return JobLost(f"hung: timed out after {self._timeout_s:g} s")
        if isinstance(error, ProcessExpired):
            return JobLost(
                self._describe_exit(error.exitcode, _last_line(log_file(self._folder, error.pid)))
            )
        if isinstance(error, BrokenProcessPool):
            logs = sorted(self._folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
            said = _last_line(logs[-1]) if logs else ""
            return JobLost(f"the workers do not start: {said or 'no message'}")
        return error

    def _describe_exit(self, status: int, words: str) -> str:
        said = f": {words}" if words else ""
        limit = self._setting.memory_bytes
        allowed = "" if limit is None else f" ({limit >> 20} MB allowed)"
        if status == OUT_OF_MEMORY_STATUS or any(w in words.lower() for w in _MEMORY_WORDS):
            return f"out of memory{allowed}{said}"
        if status == -signal.SIGKILL:
            return "crashed: killed from outside, as by the kernel when memory runs out"
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"crashed with {how}{said}"


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:200] if lines else ""
