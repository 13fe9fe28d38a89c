"""`adaspring logs`: what a tuning log holds; several made one; a long one made short."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .shared.answer import Answer, AsJson, Verbose

if TYPE_CHECKING:
    from ..backends.tuning.log.summary import FunctionSummary

_HASH_DIGITS = 8

Log = Annotated[
    Path, typer.Argument(metavar="LOG", help="A tuning log's folder, or a board that was tuned.")
]
Logs = Annotated[list[Path], typer.Argument(metavar="LOG LOG…", help="The logs; left as they are.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="LOG", help="The new log; it must not exist.")
]
Keep = Annotated[
    int, typer.Option("--keep", min=1, help="How many of each function's schedules to keep.")
]


def show(log: Log, as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """Show what a tuning log holds of each function: records, best time, noise, origins.

    For example:
      adaspring logs show host
      adaspring logs show my-logs/raspberry-pi-5 --json
    """
    from ..backends.tuning.log.summary import summarize

    log = _find(log)
    functions = summarize(log)
    records_count = sum(function.records_count for function in functions)
    lost_count = sum(function.lost_count for function in functions)
    data = {
        "log": str(log),
        "functions": [asdict(function) for function in functions],
        "records_count": records_count,
        "lost_count": lost_count,
    }
    return Answer(data=data, shown=_shown(log, functions, records_count, lost_count))


def merge(logs: Logs, output: Output, as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """Write one log with all that several hold. Their order does not matter, nor doing it again.

    For example:
      adaspring logs merge one-host/host other-host/host -o both
    """
    from ..backends.tuning.log.merge import merge as merge_logs

    union = merge_logs([_find(log) for log in logs], output)
    data = {
        "output": str(output),
        "functions_count": len(union.workloads),
        "records_count": len(union.records),
        "lost_count": len(union.lost),
    }
    from .shared.tables import line

    text = (
        f"{output}: {len(union.workloads)} functions, {len(union.records)} records, "
        f"{len(union.lost)} lost candidates, of {len(logs)} logs"
    )
    return Answer(data=data, shown=(line(text),))


def compact(log: Log, keep: Keep = 10, as_json: AsJson = False, verbose: Verbose = False) -> Answer:
    """Keep the fastest schedules of each function, and the fastest of each tuner, in place.

    Of lost candidates, those stay that the installed version of TVM lost. A schedule that is
    dropped may be measured again by a later run.

    For example:
      adaspring logs compact host --keep 10
    """
    from ..backends.tuning.log.compact import compact as compact_log
    from .shared.tables import line

    log = _find(log)
    done = compact_log(log, keep)
    text = (
        f"{log}: {done.records_count} of {done.records_before_count} records and "
        f"{done.lost_count} of {done.lost_before_count} lost candidates kept"
    )
    return Answer(data={"log": str(log), **asdict(done)}, shown=(line(text),))


def _find(log: Path) -> Path:
    """The folder of a log: as given, or the user's own log of a board of that name."""
    from ..explore.request import default_logs

    own = default_logs() / log
    return own if os.path.isdir(own) and not os.path.exists(log) else log


def _shown(
    log: Path, functions: tuple[FunctionSummary, ...], records_count: int, lost_count: int
) -> tuple[Any, ...]:
    from .shared.tables import line, table

    columns = (
        "hash", "main block", "shape", "summed over", "type", ">records", ">lost", ">best ms",
        ">noise", "tuners", "boards", "TVM",
    )  # fmt: skip
    total = f"{len(functions)} functions, {records_count} records, {lost_count} lost candidates"
    return (
        table(str(log), columns, map(_row, functions)),
        line(f"{total}; noise: (median - least) / least time of the fastest record", "dim"),
    )


def _row(function: FunctionSummary) -> tuple[str, ...]:
    from .shared.tables import percent_text, shape_text

    return (
        function.hash[:_HASH_DIGITS],
        function.main_block,
        shape_text(function.shape),
        shape_text(function.reduced_shape) if function.reduced_shape else "-",
        function.dtype,
        str(function.records_count),
        str(function.lost_count),
        "-" if function.best_ms is None else f"{function.best_ms:.3g}",
        "-" if function.noise_ratio is None else percent_text(function.noise_ratio),
        _counts_text(function.tuners),
        _counts_text(function.boards),
        ", ".join(function.tvm_versions) or "-",
    )


def _counts_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"
