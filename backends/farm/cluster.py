"""The farm of a dask.distributed cluster: many hosts, any of which may be lost."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from distributed import Client
from distributed import Future as DaskFuture
from distributed.comm.addressing import get_address_host_port, normalize_address
from distributed.scheduler import KilledWorker
from distributed.security import Security

from ...errors import BuildError, UsageError
from .farm import Farm, JobLost
from .remote import Rules, end, run_isolated

# It logs tracebacks of what comes out of our futures in one line.
logging.getLogger("distributed.client").setLevel(logging.CRITICAL)

_CONNECT_S = 5.0
NO_WORKER_S = 60.0
_WATCH_S = 1.0
# A job is sent as code for these and comes back as theirs.
_PACKAGES = ("adaspring", "apache-tvm", "apache-tvm-ffi")


def cluster_farm(
    address: str,
    *,
    initializer: Callable[[], object] | None = None,
    timeout_s: float,
    memory_bytes: int | None = None,
) -> Farm:
    """Use the cluster whose scheduler is at `address` (host:port); else as `local_farm`.

    A call whose host is lost is done again on another; where that happens too often, it is lost.

    Raises:
        UsageError: that is not an address.
        BuildError: the scheduler does not answer, has no workers, or they have other versions.

    """
    return ClusterFarm(address, Rules(uuid.uuid4().hex, initializer, timeout_s, memory_bytes))


class ClusterFarm(Farm):
    """See `cluster_farm`."""

    def __init__(self, address: str, rules: Rules) -> None:
        self._address = address
        self._rules = rules
        self._client = _connect(address)
        self._open: dict[Future[Any], DaskFuture] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        try:
            self.width = _check_workers(address, self._client)
        except BaseException:
            self._client.close()
            raise
        threading.Thread(target=self._watch, name="cluster", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` on one of the hosts."""
        if self._closed.is_set():
            raise RuntimeError("the farm is closed")
        future: Future[Any] = Future()
        task = self._client.submit(run_isolated, self._rules, fn, args, kwargs, pure=False)
        with self._lock:
            self._open[future] = task
        future.add_done_callback(self._forget)
        task.add_done_callback(lambda done: self._complete(future, done))
        return future

    def pause(self) -> AbstractContextManager[None]:
        """Nothing to do: the hosts do not disturb this machine."""
        return nullcontext()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, once all calls are done, or at once with `cancel_futures`."""
        with self._lock:
            pending = list(self._open)
        if cancel_futures:
            for future in pending:
                future.cancel()
        leaving = threading.Thread(target=self._leave, args=(pending,), daemon=True)
        leaving.start()
        if wait:
            leaving.join()

    def _leave(self, pending: list[Future[Any]]) -> None:
        wait([future for future in pending if not future.done()])
        if self._closed.is_set():
            return
        self._closed.set()
        if self._client.status == "running":
            self._client.run(end, self._rules.program, on_error="ignore")
        self._client.close(timeout=_CONNECT_S)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            task = self._open.pop(future)
        if future.cancelled():
            task.cancel()

    def _complete(self, future: Future[Any], task: DaskFuture) -> None:
        """Give the caller's future what the cluster's one got."""
        given_up = future.done() and not future.cancelled()
        if not given_up and future.set_running_or_notify_cancel():
            try:
                value = task.result()
            except Exception as error:  # whatever the call raised
                future.set_exception(self._explain_failure(error, task.status))
            else:
                future.set_result(value)

    def _explain_failure(self, error: Exception, status: str | None) -> Exception:
        if isinstance(error, KilledWorker):
            return JobLost("crashed: every cluster worker that ran it was lost")
        if status in ("cancelled", "lost"):
            return BuildError(f"{self._address}: the cluster's scheduler was lost; start it again")
        return error

    def _watch(self) -> None:
        """Give up where no worker is left: the scheduler would wait for ever."""
        seen_s = time.monotonic()
        while not self._closed.wait(_WATCH_S):
            if self._client.status != "running" or self._client.scheduler_info()["workers"]:
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s > NO_WORKER_S:
                self._fail(f"{self._address}: no worker for {NO_WORKER_S:g} s; start one")
                return

    def _fail(self, why: str) -> None:
        with self._lock:
            pending = list(self._open)
        for future in pending:
            if future.set_running_or_notify_cancel():
                future.set_exception(BuildError(why))


def _connect(address: str) -> Client:
    where = normalize_address(address)
    try:
        get_address_host_port(where)
    except ValueError as error:
        raise UsageError(
            f"{address!r} is not a scheduler's address ({error}); write host:port or tls://host:port"
        ) from error
    encrypted = Security().get_connection_args("client").get("ssl_context") is not None
    if where.startswith("tls:") and not encrypted:
        raise UsageError(f"{address} needs TLS certificates, and none are set; see docs/cluster.md")
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise BuildError(
            f"no scheduler answers at {address} ({reason}); start one with `dask scheduler`"
        ) from error


def _check_workers(address: str, client: Client) -> int:
    """How many calls the cluster takes at once; BuildError where it cannot do ours."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise BuildError(
            f"the scheduler at {address} has no workers; start one with `dask worker {address}`"
        )
    versions: Any = client.get_versions(packages=list(_PACKAGES))
    differing = list(differences(versions["client"], versions["workers"]))
    if differing:
        raise BuildError(
            f"the cluster at {address} runs other versions than this machine: "
            f"{'; '.join(differing)}; install the same versions everywhere"
        )
    return sum(worker["nthreads"] for worker in workers.values())


def differences(ours: Mapping[str, Any], workers: Mapping[str, Any]) -> Iterator[str]:
    """Each worker that has another version of Python or of a package, and what it has."""
    for address, theirs in sorted(workers.items()):
        pairs = zip(_versions(ours), _versions(theirs), strict=True)
        for (name, our_version), (_, their_version) in pairs:
            if our_version != their_version:
                found = f"{name} {their_version}" if their_version else f"no {name}"
                yield f"{address} has {found}, not {our_version}"


def _versions(found: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    packages = found["packages"]
    python = ".".join(packages["python"].split(".")[:2])
    return [("python", python), *((name, packages.get(name)) for name in _PACKAGES)]
