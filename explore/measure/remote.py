"""Run a board's variants on the board itself, over RPC, and time them there in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...backends.build import Built
from ...backends.rpc.description import BoardInfo
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
from .timing import APART_S, COLD_CALLS, WARM_S, ratio

_log = logging.getLogger(__name__)

STEP_S = 120.0
"""The limit of one step: to bring a network over, to run a sample, to time one turn."""

# The board ends the session with its client; a limit of its own is only what TVM asks for.
_SESSION_S = 24 * 3600.0
_CALLS_PER_ROUND, _LEAST_ROUNDS = 10, 5
_MOST_LOSSES = 3
_PROBE, _SAMPLE = "probe.npz", "sample.npz"

T = TypeVar("T")
K = TypeVar("K")


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
    _write(asked, work)

    def run(process: SessionProcess, board: Address, info: BoardInfo) -> dict[str, Measured]:
        return _Run(process, board, asked, work, tell).all(timed=not info.emulated)

    return in_session(tracker, asked.board, asked.key, "variants", run)


def in_session(
    tracker: Address,
    board: Board,
    key: str,
    what: str,
    use: Callable[[SessionProcess, Address, BoardInfo], T],
) -> T:
    """Use a session with a board, and where the board goes away, another one.

    `what` runs there is said in errors.

    Raises:
        BoardError: no such board, or none any more; BuildError: the board refuses a call.

    """
    waiting, session_opener = LeaseClient(tracker, key, WAIT_S), SessionOpener(board, WAIT_S)
    process = SessionProcess()
    lost_count = 0
    try:
        while True:
            lease = waiting.lease()
            assert lease is not None
            info = session_opener.open(process, lease, _SESSION_S)
            if info is None:
                continue
            try:
                return use(process, lease.board, info)
            except (CallRefused, SessionLost, SessionTimeout) as error:
                if isinstance(error, CallRefused) or is_answering(lease.board):
                    raise BuildError(
                        f"running the {what} on the board at {lease.board} failed: {error}"
                    ) from error
                lost_count += 1
                if lost_count >= _MOST_LOSSES:
                    raise BoardLost(
                        f"the board at {lease.board} went away {lost_count} times while the "
                        f"{what} ran on it"
                    ) from error
                _log.warning("the board at %s is gone; its %s are run again", lease.board, what)
            process.end_session()
    finally:
        process.end_session()
        process.close()


def load_on_board(
    process: SessionProcess, name: str, code: Path, weights: Mapping[str, np.ndarray], work: Path
) -> None:
    """Bring a network over: its code, and those of its weights that are not there."""
    written = work / f"{name}.weights.npz"
    arrays = {f"w{i}": array for i, array in enumerate(weights.values())}
    np.savez(written, **arrays)  # type: ignore[arg-type]
    process.ask(STEP_S, "load_net", name, str(code), str(written))


@dataclass(frozen=True)
class ChainTimer:
    """Times networks that run one after the other on the board: names, and the file of samples."""

    process: SessionProcess

    def in_turn(
        self, chains: Mapping[K, tuple[Sequence[str], Path]], seconds: float
    ) -> dict[K, np.ndarray]:
        """Milliseconds of single calls, (rounds, calls a round), every chain once a round."""
        found: dict[K, list[list[float]]] = {name: [] for name in chains}
        end_s, done = time.monotonic() + seconds, 0
        while time.monotonic() < end_s or done < _LEAST_ROUNDS:
            for name, chain in chains.items():
                found[name].append(self._times(*chain, _CALLS_PER_ROUND, WARM_S, 0.0))
            done += 1
        return {name: np.array(times) for name, times in found.items()}

    def apart(self, names: Sequence[str], samples: Path) -> np.ndarray:
        """Milliseconds of calls that come 50 ms after the one before."""
        return np.array(self._times(names, samples, COLD_CALLS, 0.0, APART_S))

    def _times(
        self, names: Sequence[str], samples: Path, count: int, warm_s: float, apart_s: float
    ) -> list[float]:
        asked = (list(names), str(samples), count, warm_s, apart_s)
        times: list[float] = self.process.ask(STEP_S, "time_chain", *asked)
        return times


def by_clock_of(board: Address) -> str:
    """Say where times come from."""
    return f"over RPC by the clock of the board at {board}"


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
            load_on_board(self._process, name, built.code, built.weights, self._work)
            self._process.ask(STEP_S, "run_net", name, str(self._work / _PROBE), str(written))
            outputs[name] = read_outputs(self._asked.model, written, count)
        latencies = self._latencies() if timed else {}
        return {
            name: Measured(outputs=values, latency=latencies.get(name))
            for name, values in outputs.items()
        }

    def _latencies(self) -> dict[str, Latency]:
        self._tell(len(self._asked.built), "all variants in turn")
        timer, sample = ChainTimer(self._process), self._work / _SAMPLE
        chains = {name: ((name,), sample) for name in self._asked.built}
        times = timer.in_turn(chains, self._asked.seconds)
        plainest, found = times[self._asked.plainest], dict[str, Latency]()
        for name, hot in times.items():
            latency = latency_of(hot, ratio(hot, plainest), by_clock_of(self._board))
            p50, p90 = np.percentile(timer.apart((name,), sample), [50, 90])
            found[name] = replace(latency, cold_p50_ms=float(p50), cold_p90_ms=float(p90))
        return found


def _write(asked: Asked, work: Path) -> None:
    """Write the samples, and the first alone, which is timed."""
    write_probe(asked.model, asked.inputs, work / _PROBE)
    write_probe(asked.model, [x[: asked.model.batch] for x in asked.inputs], work / _SAMPLE)
