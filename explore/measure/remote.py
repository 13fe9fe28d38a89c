"""Run a board's variants on the board itself, over RPC, and time them there in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...backends.build import Built
from ...backends.rpc.host.client import LeaseClient
from ...backends.rpc.host.runner import WAIT_S
from ...backends.rpc.host.session_opener import SessionOpener
from ...backends.rpc.host.session_process import (
    CallRefused,
    SessionLost,
    SessionProcess,
    SessionTimeout,
)
from ...backends.rpc.protocol import Address, is_answering
from ...errors import BoardLost, BuildError
from ...ir.model import Model
from ...targets import Board
from ..costs import Latency
from .local import Measured, latency_of, read_outputs, write_probe
from .timing import ratio

_log = logging.getLogger(__name__)

# Limits of one step: to bring a network over, to run one sample, to time one turn.
_STEP_S = 120.0
# The board ends the session with its client; a limit of its own is only what TVM asks for.
_SESSION_S = 24 * 3600.0
_CALLS_PER_ROUND, _LEAST_ROUNDS = 10, 5
_MOST_LOSSES = 3


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to run: the variants that were built for a board, on the samples of the probe."""

    board: Board
    key: str
    model: Model
    built: Mapping[str, Built]
    plainest: str
    inputs: Sequence[np.ndarray]
    seconds: float = 10.0


def measure_remote(
    tracker: Address, asked: Asked, work: Path, tell: Callable[[int, str], None]
) -> dict[str, Measured]:
    """Run every variant on all samples, then time them in turn; `tell` hears of each variant.

    What runs is the shared library that ships, by TVM's runtime and with the board's threads, as
    in an app. The times of an emulated board mean nothing, so none are taken. Where the board goes
    away, another is taken, or it is waited for, and everything is run again.

    Raises:
        BoardError: no such board, or none any more; BuildError: a variant does not run.

    """
    waiting, session_opener = (
        LeaseClient(tracker, asked.key, WAIT_S),
        SessionOpener(asked.board, WAIT_S),
    )
    process = SessionProcess()
    _write(asked, work)
    lost_count = 0
    try:
        while True:
            lease = waiting.lease()
            assert lease is not None
            info = session_opener.open(process, lease, _SESSION_S)
            if info is None:
                continue
            try:
                return _Run(process, lease.board, asked, work, tell).all(timed=not info.emulated)
            except (CallRefused, SessionLost, SessionTimeout) as error:
                if isinstance(error, CallRefused) or is_answering(lease.board):
                    raise BuildError(
                        f"running the variants on the board at {lease.board} failed: {error}"
                    ) from error
                lost_count += 1
                if lost_count >= _MOST_LOSSES:
                    raise BoardLost(
                        f"the board at {lease.board} went away {lost_count} times while the "
                        "variants ran on it"
                    ) from error
                _log.warning("the board at %s is gone; its variants are run again", lease.board)
            process.end_session()
    finally:
        process.end_session()
        process.close()


class _Run:
    """One session: every variant loaded and run, then all timed in turn."""

    def __init__(
        self,
        process: SessionProcess,
        board: Address,
        asked: Asked,
        work: Path,
        tell: Callable[[int, str], None],
    ) -> None:
        self._process, self._board, self._asked = process, board, asked
        self._work, self._tell = work, tell

    def all(self, *, timed: bool) -> dict[str, Measured]:
        """Do it."""
        count, outputs = len(self._asked.inputs[0]), {}
        for index, (name, built) in enumerate(self._asked.built.items()):
            self._tell(index, name)
            written = self._work / f"{name}.outputs.npz"
            weights = _weights(self._work, name)
            self._process.ask(_STEP_S, "load_net", name, str(built.code), str(weights))
            self._process.ask(_STEP_S, "run_net", name, str(_probe(self._work)), str(written))
            outputs[name] = read_outputs(self._asked.model, written, count)
        latencies = self._latencies() if timed else {}
        return {
            name: Measured(outputs=values, latency=latencies.get(name))
            for name, values in outputs.items()
        }

    def _latencies(self) -> dict[str, Latency]:
        self._tell(len(self._asked.built), "all variants in turn")
        rounds: dict[str, list[list[float]]] = {name: [] for name in self._asked.built}
        end_s, done = time.monotonic() + self._asked.seconds, 0
        while time.monotonic() < end_s or done < _LEAST_ROUNDS:
            for name, found in rounds.items():
                found.append(self._process.ask(_STEP_S, "time_net", name, _CALLS_PER_ROUND))
            done += 1
        times = {name: np.array(found) for name, found in rounds.items()}
        where = f"over RPC by the clock of the board at {self._board}"
        return {
            name: latency_of(found, ratio(found, times[self._asked.plainest]), where)
            for name, found in times.items()
        }


def _write(asked: Asked, work: Path) -> None:
    """Write what the session's process reads: the samples, and each variant's packed weights."""
    write_probe(asked.model, asked.inputs, _probe(work))
    for name, built in asked.built.items():
        arrays = {f"w{i}": array for i, array in enumerate(built.weights.values())}
        np.savez(_weights(work, name), **arrays)  # type: ignore[arg-type]


def _probe(work: Path) -> Path:
    return work / "probe.npz"


def _weights(work: Path, name: str) -> Path:
    return work / f"{name}.weights.npz"
