"""Where candidates are built and timed: worker processes and a runner, ended together."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import tvm

from ...errors import BoardError, BuildError
from ...files.replace import DISK_FULL, TemporaryFolder
from ...targets import Board
from .. import candidate_worker
from ..farm import Farm, JobLost, local_farm
from .local import LocalRunner
from .log.lines import are_times
from .runner import CandidateLost, Runner
from .state import Round

# A worker takes 0.3 GB; what unrolls into more than this would not be fast either.
WORKER_BYTES = 4 << 30


def build_farm(worker_count: int, timeout_s: float) -> Farm:
    """Worker processes of this machine that build candidates, one thread each."""
    ready = partial(candidate_worker.start_worker, 1)
    return local_farm(
        worker_count, initializer=ready, timeout_s=timeout_s, memory_bytes=WORKER_BYTES
    )


@dataclass(frozen=True)
class Outcome:
    """A candidate's seconds, or why it was lost."""

    round: Round
    position: int
    seconds: list[float] | None
    reason: str = ""


@dataclass(frozen=True)
class _Step:
    """One step of a candidate that is done: built, or (with `code`) timed."""

    round: Round
    position: int
    future: Future
    code: Path | None = None
    submitted_s: float = 0.0
    ended_s: float = 0.0


class Workbench:
    """Builds candidates side by side while others are timed. A context manager.

    Builds on `farm`, times by `runner`; what is not given is made on this machine. All methods
    are for one thread; futures' callbacks only put their step into a queue.
    """

    def __init__(
        self, board: Board, timeout_s: float, farm: Farm | None, runner: Runner | None
    ) -> None:
        self.stages_s: defaultdict[str, float] = defaultdict(float)
        self.in_flight = 0
        self._board = board
        self._target_json = json.dumps(dict(board.target))
        self._steps: SimpleQueue[_Step] = SimpleQueue()
        self._serial = 0
        self._timed_until_s = 0.0
        self._machine = threading.Lock()
        self._folder = TemporaryFolder("tune")
        self.core_count = len(os.sched_getaffinity(0))
        self._owns_farm, self._owns_runner = farm is None, runner is None
        self._farm = farm or build_farm(self.core_count, timeout_s)
        self._runner = runner or LocalRunner(board, self._hold_machine, timeout_s)

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *error: object) -> None:
        if self._owns_runner:
            self._runner.close()
        if self._owns_farm:
            self._farm.close()
        self._folder.cleanup()

    @property
    def needs_candidates(self) -> bool:
        """Whether the workers are about to run out of candidates."""
        return self.in_flight <= self._farm.width + 2 * (self._runner.width - 1)

    @contextmanager
    def hold_timing(self) -> Iterator[None]:
        """Work of the tuner's own, during which nothing is timed on this machine."""
        begin = time.perf_counter()
        with self._machine:
            yield
        self.stages_s["propose"] += time.perf_counter() - begin

    @contextmanager
    def _hold_machine(self) -> Iterator[None]:
        """Neither building nor proposing on this machine."""
        with self._machine, self._farm.pause():
            yield

    def submit(self, begun: Round, position: int) -> None:
        """Build, then time, a candidate."""
        module = tvm.ir.save_json(begun.candidates[position].schedule.mod)
        self.in_flight += 1
        future = self._farm.submit(
            candidate_worker.build_candidate, module, self._target_json, self._board.architecture
        )
        future.add_done_callback(lambda done: self._steps.put(_Step(begun, position, done)))

    def next(self) -> Outcome:
        """Wait for the next candidate that is through.

        Raises:
            BoardError: no board can time candidates any more; BuildError: the farm is gone.

        """
        while True:
            step = self._steps.get()
            outcome = self._take(step)
            if outcome is not None:
                self.in_flight -= 1
                return outcome

    def _take(self, step: _Step) -> Outcome | None:
        stage = "build" if step.code is None else "run"
        try:
            value = step.future.result()
        except (JobLost, CandidateLost) as lost:
            return Outcome(step.round, step.position, None, f"{stage}: {lost}")
        except (BoardError, BuildError):
            raise
        except OSError as error:
            if error.errno in DISK_FULL:  # no candidate's fault, and the same for the next
                raise BuildError(f"no candidate can be built: {error}") from error
            return Outcome(step.round, step.position, None, f"{stage}: {error}")
        except Exception as error:  # whatever TVM raises for a schedule that cannot be compiled
            last = (str(error).strip() or type(error).__name__).splitlines()[-1]
            return Outcome(step.round, step.position, None, f"{stage}: {last}")
        finally:
            if step.code is not None:
                step.code.unlink(missing_ok=True)
                self._note_timing(step)
        if step.code is None:
            self._time(step, value)
            return None
        if not are_times(value):
            return Outcome(step.round, step.position, None, f"run: {value} are no times")
        return Outcome(step.round, step.position, value)

    def _time(self, step: _Step, built: candidate_worker.BuiltCandidate) -> None:
        for stage, seconds in built.stages_s.items():
            self.stages_s[stage] += seconds
        self._serial += 1
        code = Path(self._folder.name) / f"{self._serial}.so"
        code.write_bytes(built.code)
        begin = time.perf_counter()
        future = self._runner.submit(code, step.round.state.arguments)

        def done(timed: Future) -> None:
            now = time.perf_counter()
            self._steps.put(_Step(step.round, step.position, timed, code, begin, now))

        future.add_done_callback(done)

    def _note_timing(self, step: _Step) -> None:
        """Add the time that the board was at it, its waiting for a turn left out."""
        begin = max(step.submitted_s, self._timed_until_s)
        self.stages_s["measure"] += max(0.0, step.ended_s - begin)
        self._timed_until_s = max(self._timed_until_s, step.ended_s)
