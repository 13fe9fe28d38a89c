"""`adaspring boards emulate`: an ARM board for machines without one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ...errors import BoardError, UsageError
from ...targets import find
from ..shared.answer import AsJson, Verbose
from .command import TRACKER_PORT, announce, served_text

if TYPE_CHECKING:
    from ...backends.rpc.protocol import Address

BoardName = Annotated[
    str, typer.Argument(metavar="BOARD", help="An aarch64 board from `adaspring targets`.")
]
Folder = Annotated[
    Path | None,
    typer.Option(
        help="Where the board's files are kept (130 MB).", show_default="~/.cache/adaspring/boards"
    ),
]
OptionalTracker = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Where the tracker listens; one is started on this machine if none answers.",
        show_default=f"127.0.0.1:{TRACKER_PORT}",
    ),
]
OptionalKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Ends with -emulated.", show_default="BOARD-emulated"),
]


def emulate(
    board: BoardName,
    folder: Folder = None,
    tracker: OptionalTracker = None,
    key: OptionalKey = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> NoReturn:
    """Emulate an ARM board on this machine and serve it; Ctrl-C ends it.

    What it computes is right, how long that takes means nothing. Debian's packages
    and wheels are fetched the first time; that needs no root and installs nothing.

    For example:
      adaspring boards emulate raspberry-pi-5
    """
    from ...backends.rpc.description import EMULATED_SUFFIX
    from ...backends.rpc.emulator.image import default_folder, image
    from ...backends.rpc.emulator.run import check_can_be_emulated, emulated_board, emulated_key
    from ...backends.rpc.process_exit import exit_on_sigterm
    from ...backends.rpc.protocol import Address

    exit_on_sigterm()
    found = find(board)
    check_can_be_emulated(found)
    key = key or emulated_key(found)
    if not key.endswith(EMULATED_SUFFIX):
        raise UsageError(
            f"{key!r} could be a real board's key; that of an emulated one ends with "
            f"{EMULATED_SUFFIX}, so that nobody takes its times for a board's"
        )
    where = Address.parse(tracker or f"127.0.0.1:{TRACKER_PORT}")
    files = image(folder or default_folder(), lambda step: typer.echo(step, err=True))
    any_port = Address("127.0.0.1", 0)
    with (
        contextlib.nullcontext() if tracker else ensure_tracker(where),
        emulated_board(files, found, key, where, any_port) as process,
    ):
        assert process.stdout is not None
        if said := process.stdout.readline():
            record = json.loads(said)
            announce(as_json, record, served_text(record, str(where)))
        status = process.wait()
    raise BoardError(f"the emulated board ended with status {status}; start it again")


@contextlib.contextmanager
def ensure_tracker(where: Address) -> Iterator[None]:
    """Have a tracker here: the one that is there already, else one that ends with the board."""
    try:
        where.connect().close()
    except OSError:
        pass
    else:
        yield
        return
    command = [
        sys.executable,
        "-m",
        "adaspring.backends.rpc.tracker",
        "--parent",
        str(os.getpid()),
    ]
    command += ["--host", where.host, "--port", str(where.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise BoardError(
                    f"no tracker answers at {where}, and none can be started there: give --tracker "
                    "an address of this machine with a free port, or start one where it is "
                    "(adaspring boards tracker)"
                )
            yield
        finally:
            process.terminate()
