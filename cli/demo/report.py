"""What the demo prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ...explore.compile import CompileResult
    from .day import Lived

_MIB = 2**20


def print_training(
    console: Console, train_count: int, held_count: int, accuracy: float, disturbance: str
) -> None:
    """Say what was trained, on what, and how well it does."""
    console.print(
        f"A residual network, trained on {train_count} of scikit-learn's handwritten digits, reads "
        f"{100 * accuracy:.1f} % of {held_count} others right. To make them hard, all are enlarged "
        f"to 32x32, then {disturbance}."
    )


def print_command(console: Console, first: str, *more: Sequence[str]) -> None:
    """Show the command that does the same."""
    lines = (first, *(" ".join(options) for options in more))
    console.print(" \\\n    ".join(lines), style="dim", soft_wrap=True)


def print_libraries(console: Console, result: CompileResult) -> None:
    """A table of variants for each board, and what was dropped."""
    from ..compile.tables import board_report

    for board in result.boards:
        board_report(console, board)


def print_day(console: Console, lived: Sequence[Lived]) -> None:
    """A row for each moment."""
    from rich.table import Table

    table = Table(title="one open network, a day of contexts")
    for heading in (
        "time",
        "",
        "battery",
        "deadline",
        "memory",
        "floor",
        "runs",
        "accuracy",
        "p50 now",
    ):
        table.add_column(heading, justify="left" if heading in ("time", "", "runs") else "right")
    table.add_column("decide", justify="right")
    table.add_column("switch", justify="right")
    for moment in lived:
        table.add_row(*_row(moment))
    console.print(table)
    given_up = [moment for moment in lived if moment.switch.relaxed]
    for moment in given_up:
        what = " and ".join(f"{m.constraint} by {m.describe()}" for m in moment.switch.missed)
        console.print(f"[yellow]{moment.moment.hour}: not every bound is met; missed {what}[/]")


def _row(lived: Lived) -> tuple[str, ...]:
    context, switch = lived.context, lived.switch
    changed = switch.from_variant != switch.to_variant
    deadline, memory = context.latency_budget_ms, context.memory_budget_bytes
    floor = context.metric_floor
    return (
        lived.moment.hour,
        lived.moment.what,
        f"{100 * lived.moment.battery_ratio:.0f} %",
        "-" if deadline is None else f"{deadline:.2f} ms",
        "-" if memory is None else f"{memory / _MIB:.1f} MiB",
        "-" if floor is None else f"{100 * floor:.1f} %",
        f"[bold]{switch.to_variant}[/]" if changed else switch.to_variant,
        f"{100 * lived.accuracy_ratio:.1f} %",
        f"{lived.latency_p50_ms:.3f} ms",
        f"{switch.decide_us:.0f} µs",
        f"{1e3 * switch.switch_ms:.1f} µs",
    )


def print_next_steps(console: Console, output: Path, picture: Path, seconds: float) -> None:
    """Where everything lies, and what to try."""
    console.print(
        f"{seconds:.0f} s. The cost front: [bold]{picture}[/]\n"
        f"Try next: adaspring inspect {output}/libraries/host\n"
        f"          adaspring bench {output}/libraries/host --profile",
        soft_wrap=True,
    )
