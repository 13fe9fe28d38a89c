"""What the user asks for, as given: files may still be unread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends.tuning.settings import Tuning
from ..errors import UsageError
from ..targets import Board, find
from ..targets.machine import cache_folder

if TYPE_CHECKING:
    from ..backends.rpc.protocol import Address
    from ..frontend.data import Dataset, Splits
    from ..frontend.shapes import Shapes
    from ..ir.model import Model
    from ..metrics import AskedMetric, Metric
    from ..training import AskedLoss
    from .recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much worse than the dense network, how bad, and how slow a variant may be.

    `max_drop`: in the metric's unit (0.01 is a point of a share); None: what is usual for the
    metric, if anything is. `min_metric`: the worst value of the metric that will do; of an error,
    the largest. `latency_ms`: the slowest call. `front_only`: a variant that another matches in
    every figure and beats in one is left out.
    """

    max_drop: float | None = None
    min_metric: float | None = None
    latency_ms: float | None = None
    front_only: bool = True

    def __post_init__(self) -> None:
        if self.latency_ms is not None and not self.latency_ms > 0:
            raise UsageError(f"--latency-ms is {self.latency_ms:g}; give milliseconds above 0")
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise UsageError(f"--max-drop is {self.max_drop:g}; give 0 or more")
        if self.min_metric is not None and not math.isfinite(self.min_metric):
            raise UsageError(f"--min-metric is {self.min_metric:g}; give a number")

    def of(self, metric: Metric | None) -> Bounds:
        """The bounds in this metric's unit, its usual drop where none is given.

        Raises:
            UsageError: there is no usual drop, or a bound lies outside [0, 1] where values do not.

        """
        if metric is None:
            if self.min_metric is not None:
                raise UsageError("--min-metric needs --data, on which the metric is computed")
            return self
        for option, bound in (("--max-drop", self.max_drop), ("--min-metric", self.min_metric)):
            if bound is not None and metric.unit == "ratio" and not 0 <= bound <= 1:
                raise UsageError(
                    f"{option} is {bound:g}; {metric.name} is a share, so give one from 0 to 1: "
                    "0.01 is a point"
                )
        if self.max_drop is None and metric.usual_drop is None and self.min_metric is None:
            raise UsageError(
                f"{metric.name} has no usual bound; give --max-drop, how much worse than the dense "
                "network a variant may be, in its unit, or --min-metric, the worst value"
            )
        return replace(self, max_drop=metric.usual_drop) if self.max_drop is None else self


def default_logs() -> Path:
    """Where measured schedules are kept, a folder for each board, where nothing else is said."""
    return cache_folder() / "logs"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Libraries to make, or boards to tune for; one library a board.

    `model`: an .onnx file, a .pt2 file, `package.module:function`, or an imported network.
    `data`: held-out samples, as a file, a folder, `package.module:function`, or read already.
    `metric`: how good the network is on them (`metrics.resolve`); where nothing is given, top-1
    accuracy with class labels, nearness to the dense network without any. `calibration`: samples
    for passes to look at, in place of a part of the data. `training`: other samples, on which
    recipes are retrained that lose more than `bounds` allows; with `together`, all are trained on
    them first, on shared weights; with `segments`, so are the cells of all pieces. `loss`: what
    training minimises, in place of cross-entropy: a function of (outputs, targets) in torch, or
    its `package.module:function`. `retrain_time_s`: how long each of these trainings may take;
    None: until it is done.

    `output`: the library for one board, the folder of libraries for several; None where boards are
    only tuned for. `recipes`: names, or recipes; empty for all that are tried by default, and
    without data only recipes that are named are tried unseen. `shapes` fix the free dimensions of
    inputs, one shape of each by name, or several such: the library then holds each. `pad` gives
    the value that fills up an input to the next larger shape; it is checked to change nothing.
    `states` says which output is which input of the next call; where it is empty, names may tell
    (`library.streams.pairs`).

    `segments`: into how many pieces the network is cut at the most, each of which gets cells that
    an app puts together; 1: it stays whole. Needs data.

    `check_import`: whether what was imported is compared with its source before anything is done.

    `tracker`: where boards that are not this machine are registered, so that they are tuned and
    run over RPC. `cluster`: the scheduler of a dask.distributed cluster whose hosts build. `seed`
    is that of the data's split and of training.
    """

    model: str | Path | Model
    output: Path | None = None
    boards: Sequence[str | Board] = ("host",)
    data: str | Path | Dataset | Splits | None = None
    metric: AskedMetric = None
    calibration: str | Path | Dataset | None = None
    training: str | Path | Dataset | None = None
    together: bool = False
    loss: AskedLoss = None
    retrain_time_s: float | None = None
    recipes: Sequence[str | Recipe] = ()
    bounds: Bounds = field(default_factory=Bounds)
    tuning: Tuning = field(default_factory=lambda: Tuning(trials=200))
    shapes: Shapes | Sequence[Shapes] | None = None
    pad: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    logs: str | Path = field(default_factory=default_logs)
    tracker: Address | None = None
    cluster: str | None = None
    segments: int = 1
    seed: int = 0
    check_import: bool = True

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise UsageError(f"--segments is {self.segments}; give 1 or more")
        if self.segments > 1 and self.data is None:
            raise UsageError("--segments needs --data too: samples that tell what pieces lose")
        if self.segments > 1 and isinstance(self.shapes, Sequence) and len(self.shapes) > 1:
            raise UsageError(
                "--segments and several --shape cannot be had together, since a cell has code for "
                "one shape; give one, or leave --segments out"
            )
        if self.together and self.training is None:
            raise UsageError("--together needs --retrain too: the samples to train on")
        if self.retrain_time_s is not None and self.training is None:
            raise UsageError("--retrain-time needs --retrain too: the samples to train on")
        if self.training is not None and self.data is None:
            raise UsageError("--retrain needs --data too: held-out samples that tell what was lost")
        needed = {"--metric": self.metric, "--calibration": self.calibration}
        lonely = [option for option, given in needed.items() if given is not None]
        if lonely and self.data is None:
            raise UsageError(f"{lonely[0]} needs --data too: held-out samples, labelled or not")
        if self.loss is not None and self.training is None:
            raise UsageError("--loss needs --retrain too: the samples to train on")


def find_boards(boards: Sequence[str | Board]) -> tuple[Board, ...]:
    """Find the boards, each once; BoardError lists the known ones."""
    found = tuple(find(board) if isinstance(board, str) else board for board in boards)
    names = [board.name for board in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--target names {twice} more than once; give each board once")
    return found
