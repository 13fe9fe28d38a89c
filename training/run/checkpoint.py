"""What a run needs to go on after it was killed: tensors as safetensors, counters as JSON.

A checkpoint is a folder `step-N` (N: steps done) with `weights`, `best` and `optimizer.safetensors`
and `counters.json`. It is written under a temporary name and renamed, and the one before is removed
after that: whenever the run is killed, one whole checkpoint is there. Nothing is pickled.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import TrainingError
from ...files.read import check_regular, read_regular
from ...files.replace import sync
from ...library.records import Direction
from ...metrics import worse_by
from .schedule import Schedule

SCHEMA = 2
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_MOST_COUNTERS_BYTES = 2**26
_FILES = ("weights", "best", "optimizer")


class Epoch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one epoch came to; epoch 0 is the network before training."""

    epoch: int
    loss: float | None
    validation_loss: float
    validation_metric: float | None

    def better_than(self, other: Epoch, direction: Direction) -> bool:
        """Whether it does better on the validation data: by the metric, then by loss."""
        return self._rank(direction) > other._rank(direction)

    def _rank(self, direction: Direction) -> tuple[float, float]:
        found = self.validation_metric
        value = -math.inf if found is None else worse_by(direction, found, 0.0)
        return value, -self.validation_loss


class Counters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a run is: `step` steps of `epoch` are done, and their losses add up to `loss_sum`.

    `run` tells one run from another: its settings, network and data. `direction` is that of its
    metric, `schedule` how the learning rate falls, `spent_s` how long it took until it was saved.
    """

    schema: int = SCHEMA
    run: str
    direction: Direction
    schedule: Schedule
    spent_s: float = 0.0
    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    history: list[Epoch] = []

    def best(self) -> Epoch:
        """Return the best epoch, the first of equals."""
        found = self.history[0]
        for epoch in self.history:
            found = epoch if epoch.better_than(found, self.direction) else found
        return found


@dataclass(frozen=True)
class State:
    """All that is saved; each mapping gives tensors by name."""

    counters: Counters
    weights: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def save(folder: Path, state: State, done: int) -> None:
    """Write the checkpoint after `done` steps; it is there whole, or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = folder / f"step-{done:09d}", folder / f"step-{done:09d}.partial"
    if final.exists():
        return
    for unfinished in folder.glob("step-*.partial"):
        shutil.rmtree(unfinished)
    partial.mkdir()
    for name in _FILES:
        tensors = {key: value.contiguous() for key, value in getattr(state, name).items()}
        _save(tensors, partial / f"{name}.safetensors")
    (partial / "counters.json").write_bytes(msgspec.json.encode(state.counters))
    for file in (*partial.iterdir(), partial):
        sync(file)
    partial.rename(final)
    sync(folder)
    for old in _checkpoints(folder):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file; what the system says comes as text, and is an OSError again."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        code = _OS_ERROR.search(str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def load(folder: Path, run: str) -> State | None:
    """Read the last checkpoint of a run, or None where there is none.

    Raises:
        TrainingError: it is damaged, or another run's.

    """
    found = _checkpoints(folder)
    if not found:
        return None
    last = found[-1]
    todo = f"{last.name} is damaged (a file of it cannot be read); remove {folder} to start over"
    try:
        for name in _FILES:
            check_regular(last / f"{name}.safetensors", TrainingError, todo)
        text = read_regular(
            last / "counters.json", TrainingError, todo, most_bytes=_MOST_COUNTERS_BYTES
        )
        counters = msgspec.json.decode(text, type=Counters)
        tensors = [load_file(last / f"{name}.safetensors") for name in _FILES]
    except (OSError, msgspec.MsgspecError, SafetensorError, RecursionError) as error:
        raise TrainingError(
            f"{last} is damaged ({error}); remove {folder} to start over"
        ) from error
    if counters.schema != SCHEMA or counters.run != run:
        raise TrainingError(
            f"{folder} holds a run with other settings, another network or other data; give "
            "another folder, or remove it to start over"
        )
    return State(counters, *tensors)


def _checkpoints(folder: Path) -> list[Path]:
    named = folder.glob("step-*") if folder.is_dir() else ()
    return sorted(path for path in named if path.suffix != ".partial")
