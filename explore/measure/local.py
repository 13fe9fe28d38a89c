"""Run a library's variants as an app would, in a process of their own, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BuildError
from ...ir.model import Model
from ...reference.executor import mapped_chunks, unbatch
from ..costs import Latency
from . import ChildFailed, answer_of

_PROBE = "probe.npz"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one variant answered on the probe, and how fast; None where its times mean nothing.

    `peak_memory_bytes`: by how much an app's process grows for it; None where that cannot be seen.
    """

    outputs: tuple[np.ndarray, ...]
    latency: Latency | None
    peak_memory_bytes: int | None = None


def measure(
    library: Path, model: Model, inputs: Sequence[np.ndarray], work: Path, seconds: float = 10.0
) -> dict[str, Measured]:
    """Run every variant of `library` on the probe's samples, then time them in turn.

    The process has the app's side alone loaded, and the board's thread count. The memory of each
    variant is measured in a further process of its own.
    """
    return {
        name: _read(
            name,
            work,
            model,
            len(inputs[0]),
            run_child("explore.measure.memory_child", library, work / _PROBE, name),
        )
        for name in _run_in_turn(library, model, inputs, work, seconds)
    }


def times_ms(
    library: Path, model: Model, inputs: Sequence[np.ndarray], work: Path, seconds: float
) -> dict[str, np.ndarray]:
    """Time every variant of `library` in turn as `measure` does: milliseconds of single calls."""
    found = {}
    for name in _run_in_turn(library, model, inputs, work, seconds):
        with np.load(work / f"{name}.npz", allow_pickle=False) as data:
            found[name] = data["times_ms"]
    return found


def outputs_of(
    library: Path, model: Model, inputs: Sequence[np.ndarray], work: Path
) -> dict[str, tuple[np.ndarray, ...]]:
    """Run every variant of `library` on samples, untimed."""
    names = _run_in_turn(library, model, inputs, work, seconds=0)
    return {name: read_outputs(model, work / f"{name}.npz", len(inputs[0])) for name in names}


def _run_in_turn(
    library: Path, model: Model, inputs: Sequence[np.ndarray], work: Path, seconds: float
) -> list[str]:
    """Have the measuring process write what it finds to `work`; the variants' names.

    Nothing is timed in 0 seconds.
    """
    write_probe(model, inputs, work / _PROBE)
    answer = run_child("explore.measure.local_child", library, work / _PROBE, work, seconds)
    return list(answer["names"])


def run_child(module: str, library: Path, *arguments: object) -> Any:
    """What a measuring process answers, from JSON."""
    try:
        return answer_of(module, library, *arguments)
    except ChildFailed as failed:
        raise BuildError(f"running the variants of {library.name} failed: {failed}") from failed


def write_probe(model: Model, inputs: Sequence[np.ndarray], path: Path) -> None:
    """Write the probe's samples as the network takes them, one call after the other: x0, x1 …."""
    chunks = [list(arrays) for arrays in zip(*mapped_chunks(model, inputs), strict=True)]
    batches = {f"x{i}": np.concatenate(arrays) for i, arrays in enumerate(chunks)}
    np.savez(path, **batches)  # type: ignore[arg-type]


def read_outputs(model: Model, path: Path, count: int) -> tuple[np.ndarray, ...]:
    """Read what `count` samples gave, one call after the other: y0, y1 …."""
    with np.load(path, allow_pickle=False) as data:
        found = [data[f"y{i}"] for i in range(len(model.outputs))]
    return tuple(unbatch(model, value, count) for value in found)


def latency_of(times_ms: np.ndarray, ratio_to_plainest: float, where: str) -> Latency:
    """The figures of single calls, timed in turn with those of the other variants."""
    return Latency(
        p50_ms=float(np.percentile(times_ms, 50)),
        p90_ms=float(np.percentile(times_ms, 90)),
        ratio_to_plainest=ratio_to_plainest,
        how=f"{times_ms.size} calls in turn with the other variants, one sample, {where}",
        where=where,
    )


def _read(name: str, work: Path, model: Model, count: int, memory_bytes: int | None) -> Measured:
    path = work / f"{name}.npz"
    with np.load(path, allow_pickle=False) as data:
        hot = latency_of(data["times_ms"], float(data["ratio"]), "app side")
        p50, p90 = np.percentile(data["cold_times_ms"], [50, 90])
        latency = replace(hot, cold_p50_ms=float(p50), cold_p90_ms=float(p90))
    return Measured(
        outputs=read_outputs(model, path, count), latency=latency, peak_memory_bytes=memory_bytes
    )
