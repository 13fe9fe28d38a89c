"""`adaspring bench --profile`: where each variant's time goes, function by function."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...explore.measure import ChildFailed, answer_of
from ...files.replace import TemporaryFolder
from ...library.runtime import installed_tvm
from ..shared.answer import Answer

if TYPE_CHECKING:
    from rich.table import Table

    from ...library.manifest import BoardRecord, FunctionRecord
    from ...library.profile import FunctionTime, Profile

_COLUMNS = (
    "layer", "kernel", ">ms", ">of network", ">GOP/s", ">of peak", ">moved"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """1e9 operations a second by type; where there are none, `obstacle` says why."""

    gops: Mapping[str, float] = field(default_factory=dict)
    obstacle: str | None = None

    def ratio(self, timed: FunctionTime) -> float | None:
        """The share of the peak that a function reaches by what it does; None where not known."""
        peak = self.gops.get(timed.function.dtype or "")
        return None if peak is None else timed.performed_gops / peak


def profile_answer(lib: Path, seconds: float) -> Answer:
    """Profile every variant of a library, for about `seconds` in all."""
    from ...library.loader import load
    from ...library.profile import check_profilable, profile
    from ...library.reader import read_manifest
    from ..shared.bars import Bars
    from ..shared.samples import random_samples
    from ..shared.tables import line

    check_profilable(read_manifest(lib).board)
    library = load(lib)
    board, names = library.manifest.board, library.variants
    sample = random_samples(library.manifest.inputs, None).inputs
    with Bars() as bars:
        bars.step("measure the processor's peak", 0, 1, board.name)
        peaks = measured_peaks(board)
        found = []
        for index, name in enumerate(names):
            bars.step("profile the variants", index, len(names), name)
            found.append(profile(library, name, sample, seconds / len(names)))
    data = {
        "library": str(lib),
        "board": board.name,
        "threads_count": board.thread_count,
        "peak_gops": dict(peaks.gops) or None,
        "peak_obstacle": peaks.obstacle,
        "variants": [_data(variant, peaks) for variant in found],
    }
    notes = (
        f"medians of {found[0].calls_count} calls or more, {board.thread_count} threads, random "
        "input; moved: modelled, inputs, weights and outputs once each",
        _peak_note(peaks),
    )
    tables = [_table(variant, peaks) for variant in found]
    return Answer(data=data, shown=(*tables, *(line(note, "dim") for note in notes)))


def measured_peaks(board: BoardRecord) -> Peaks:
    """Measure what this processor can do, in a process that has the compiler."""
    if board.device != "cpu":
        return Peaks(obstacle=f"the functions run on {board.name}'s {board.device} device")
    if installed_tvm() is None:
        return Peaks(
            obstacle="the compiler is not installed; pip install 'adaspring[compiler]' on a "
            "machine that can hold it"
        )
    with TemporaryFolder("peak") as folder:
        path = Path(folder) / "board.json"
        path.write_bytes(msgspec.json.encode(board))
        try:
            return Peaks(gops=answer_of("backends.report.peak", path))
        except ChildFailed as failed:
            return Peaks(obstacle=f"measuring it failed: {failed}")


def _peak_note(peaks: Peaks) -> str:
    if peaks.obstacle is not None:
        return f"the processor's peak is not known: {peaks.obstacle}"
    of = ", ".join(f"{dtype} {gops:.4g} GOP/s" for dtype, gops in peaks.gops.items())
    return (
        f"of peak: measured here just before by multiply-adds in registers alone, {of}; "
        "for Winograd's filtering by the multiplications that it does, GOP/s by the direct ones"
    )


def _table(variant: Profile, peaks: Peaks) -> Table:
    from ..shared.tables import bytes_text, percent_text, table

    rows = [
        (
            layer_text(timed.function),
            timed.function.kernel,
            f"{timed.p50_ms:.4f}",
            percent_text(timed.p50_ms / variant.network_p50_ms),
            f"{timed.gops:.1f}" if timed.function.macs_count else "-",
            "-" if (ratio := peaks.ratio(timed)) is None else percent_text(ratio),
            bytes_text(timed.function.moved_bytes),
        )
        for timed in variant.functions
    ]
    total = variant.sum_p50_ms
    share = percent_text(total / variant.network_p50_ms)
    whole = f"sum; the network by itself takes {variant.network_p50_ms:.4f} ms"
    rows.append((whole, "", f"{total:.4f}", share, "", "", ""))
    return table(variant.variant, _COLUMNS, rows)


def layer_text(function: FunctionRecord) -> str:
    """The layers of a function, or the operators of one without weights."""
    if function.layers:
        return ", ".join(function.layers)
    return re.sub(r"\d+(?=_|$)", "", function.name.removeprefix("fused_"))


def _data(variant: Profile, peaks: Peaks) -> dict[str, Any]:
    return {
        "name": variant.variant,
        "calls_count": variant.calls_count,
        "network_p50_ms": variant.network_p50_ms,
        "sum_p50_ms": variant.sum_p50_ms,
        "functions": _functions(variant.functions, variant.network_p50_ms, peaks),
    }


def _functions(
    functions: Sequence[FunctionTime], network_ms: float, peaks: Peaks
) -> list[dict[str, Any]]:
    return [
        msgspec.structs.asdict(timed.function)
        | {
            "p50_ms": timed.p50_ms,
            "time_ratio": timed.p50_ms / network_ms,
            "gops": timed.gops,
            "peak_ratio": peaks.ratio(timed),
        }
        for timed in functions
    ]
