"""`adaspring boards`: the machines that networks are tuned and measured on, over RPC."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..shared.answer import AsJson, Verbose

if TYPE_CHECKING:
    from ...backends.rpc.board.server import ServedBoard
    from ...backends.rpc.protocol import Address

TRACKER_PORT, BOARD_PORT = 9190, 9091

Host = Annotated[
    str,
    typer.Option(
        metavar="HOST",
        help="The address to listen at. Other machines reach all but loopback: docs/security.md.",
    ),
]
Tracker = Annotated[
    str, typer.Option("--tracker", metavar="HOST:PORT", help="Where the tracker listens.")
]
TrackerPort = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")]
BoardPort = Annotated[
    int, typer.Option(min=0, max=65535, help="Exactly this one; 0 takes any that is free.")
]
Key = Annotated[
    str,
    typer.Option(
        metavar="KEY", help="What kind of board it is: a name from `adaspring targets`, or a .toml."
    ),
]


def tracker(
    host: Host = "127.0.0.1",
    port: TrackerPort = TRACKER_PORT,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> NoReturn:
    """Run the tracker that boards register at and that compile asks for one; Ctrl-C ends it.

    For example:
      adaspring boards tracker
    """
    from ...backends.rpc.protocol import Address
    from ...backends.rpc.tracker.tracker import run_tracker

    def ready(where: Address) -> None:
        announce(
            as_json,
            {"tracker": str(where)},
            f"tracker at {where}; a board joins with "
            f"`adaspring boards serve --key NAME --tracker {where}`. Ctrl-C ends it.",
        )

    address = Address(host, port)
    warn_of_exposure(address)
    run_tracker(address, ready)
    raise KeyboardInterrupt


def serve(
    key: Key,
    tracker: Tracker,
    host: Host = "127.0.0.1",
    port: BoardPort = BOARD_PORT,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> NoReturn:
    """Make this machine a board that others tune and measure on; Ctrl-C ends it.

    Needs neither the compiler nor torch: pip install 'adaspring[board]'.

    For example:
      adaspring boards serve --key raspberry-pi-5 --tracker 192.168.7.1:9190 --host 192.168.7.2
    """
    from ...backends.rpc.board.__main__ import ready_record
    from ...backends.rpc.board.server import ServeSettings, serve_board
    from ...backends.rpc.protocol import Address

    def ready(found: ServedBoard) -> None:
        announce(as_json, ready_record(found), served_text(ready_record(found), tracker))

    service = ServeSettings(key=key, tracker=Address.parse(tracker), listen=Address(host, port))
    warn_of_exposure(service.listen)
    serve_board(service, ready)


def announce(as_json: bool, record: Mapping[str, Any], text: str) -> None:
    """Say once that a command which goes on for ever is ready."""
    # under --json, sys.stdout is for what is not the answer
    print(json.dumps(record) if as_json else text, file=sys.__stdout__, flush=True)


def served_text(record: Mapping[str, Any], tracker: str) -> str:
    """Say what is served."""
    board = record["board"]
    return (
        f"{board['cpu_model']} serves {record['key']} at {record['address']} with "
        f"{board['threads_count']} threads, registered at {tracker}. Ctrl-C ends it."
    )


def warn_of_exposure(address: Address) -> None:
    """Warn where other machines can reach what will listen."""
    from ...backends.rpc.protocol import exposure_warning

    if warning := exposure_warning(address):
        typer.echo(f"warning: {warning}", err=True)
