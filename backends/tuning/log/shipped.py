"""Tuning logs that come with the package, so that a first compile begins with good schedules."""

from __future__ import annotations

from pathlib import Path

from ....targets import Board
from ...kernels.isa import instruction_set

_FOLDER = Path(__file__).resolve().parents[3] / "tuning_logs"


def shipped_logs(board: Board, folder: Path = _FOLDER) -> tuple[Path, ...]:
    """The logs that fit a board: its own, and that of its class of x86 processors.

    Functions are lowered alike for all processors of a class, and what is fast on one is nearly
    fast on the others.
    """
    if board.device != "cpu":
        return ()
    names = [board.name]
    isa = instruction_set(board)
    if board.architecture == "x86_64" and isa.float_lanes == 16 and isa.int8.depth == 4:
        names.append("x86-avx512-vnni")
    elif board.architecture == "x86_64" and isa.float_lanes == 8:
        names.append("x86-avx2")
    return tuple(folder / name for name in names if (folder / name).is_dir())
