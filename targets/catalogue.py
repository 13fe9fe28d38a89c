"""The known boards, and how a name or a file becomes one."""

from __future__ import annotations

import difflib
from pathlib import Path

from ..errors import BoardError
from .board import Board
from .detect import host, host_cuda, host_opencl, null
from .known.h200 import H200
from .known.jetson_orin import JETSON_ORIN
from .known.mali import MALI_G78, ODROID_N2_MALI, ROCKPRO64_MALI
from .known.raspberry_pi_4 import RASPBERRY_PI_4
from .known.raspberry_pi_5 import RASPBERRY_PI_5
from .known.rock_5b import ROCK_5B, ROCK_5B_MALI
from .toml_board import load_board

BOARDS = (
    RASPBERRY_PI_4, RASPBERRY_PI_5, ROCK_5B, ROCK_5B_MALI, ROCKPRO64_MALI, ODROID_N2_MALI,
    MALI_G78, JETSON_ORIN, H200,
)  # fmt: skip
DETECTED = (
    ("host", host),
    ("host-opencl", host_opencl),
    ("host-cuda", host_cuda),
    ("null", null),
)


def names() -> tuple[str, ...]:
    """Return every name that `find` knows: the machines detected here, then the known boards."""
    return (*(name for name, _ in DETECTED), *(board.name for board in BOARDS))


def find(name_or_path: str | Path) -> Board:
    """Return the board of that name, or the one that a .toml file describes.

    Raises:
        BoardError: no board has that name (the message lists them), or the file is wrong.

    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return load_board(Path(text))
    for name, detect in DETECTED:
        if name == text:
            return detect()
    for board in BOARDS:
        if board.name == text:
            return board
    near = difflib.get_close_matches(text.lower(), names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise BoardError(
        f"unknown board {text!r}: {hint}known are {', '.join(names())}, or the path of a .toml file"
    )


def is_this_machine(board: Board) -> bool:
    """Tell whether `board` was detected here, so that its code can be run, tuned and measured."""
    try:
        return any(name == board.name and detect() == board for name, detect in DETECTED)
    except BoardError:  # of that name, and without the device
        return False
