"""Runs an emulated board: the server of a real one, in an emulated Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....errors import BoardError
from ....files.replace import TemporaryFolder
from ....targets import Board
from ..description import EMULATED_SUFFIX
from ..protocol import Address
from .image import Image

_PACKAGE = Path(__file__).resolve().parents[3]


def emulated_key(board: Board) -> str:
    """The key of an emulated board: another than the real one's, so that nobody takes it for it."""
    return board.rpc_key + EMULATED_SUFFIX


def check_can_be_emulated(board: Board) -> None:
    """Refuse a board whose processor or device the emulator does not have: BoardError."""
    if board.architecture != "aarch64":
        raise BoardError(
            f"{board.name} is {board.architecture}; only aarch64 boards can be emulated; "
            "to serve this machine, run `adaspring boards serve --key host`"
        )
    if board.device != "cpu":
        raise BoardError(f"{board.name} computes on {board.device}, and only CPUs can be emulated")


@contextmanager
def emulated_board(
    image: Image, board: Board, key: str, tracker: Address, listen: Address
) -> Iterator[subprocess.Popen[str]]:
    """Start a board; the first line of the process's stdout is what `rpc.serve` answers.

    Raises:
        BoardError: the emulator does not know the board's processor.

    """
    cpu = _cpu(image, board)
    # The package by itself: beside it may lie packages of this machine's architecture.
    with TemporaryFolder("board") as folder:
        (Path(folder) / "adaspring").symlink_to(_PACKAGE)
        command = [
            *(str(image.emulator), "-cpu", cpu, "-L", str(image.root), str(image.python)),
            *(
                "-m",
                "adaspring.backends.rpc.board",
                "--key",
                key,
                "--tracker",
                str(tracker),
            ),
            *("--host", listen.host, "--port", str(listen.port), "--emulated", cpu),
            *("--parent", str(os.getpid())),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(image.site), folder)),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _cpu(image: Image, board: Board) -> str:
    """The board's processor by the emulator's name, which is LLVM's."""
    cpu = str(board.target.get("mcpu", ""))
    listed = subprocess.run(
        [str(image.emulator), "-cpu", "help"], capture_output=True, text=True, check=False
    ).stdout.split()
    if cpu not in listed:
        known = ", ".join(sorted(word for word in listed if word.startswith("cortex-a")))
        raise BoardError(
            f"{board.name} has a {cpu}, which the emulator does not know; it knows {known}"
        )
    return cpu
