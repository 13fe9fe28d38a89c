"""`python -m adaspring.backends.rpc.board`: `adaspring boards serve` without the command line.

What an emulated board runs, and a board that has no typer and rich. Its answer is one JSON line.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

import msgspec

from ....errors import AdaspringError
from ..process_exit import die_with_parent
from ..protocol import Address, exposure_warning
from .server import FIRST_PORT, TRACKER_WAIT_S, ServedBoard, ServeSettings, serve_board


def main(arguments: list[str]) -> int:
    """Serve until interrupted; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m adaspring.backends.rpc.board")
    parser.add_argument("--key", required=True)
    parser.add_argument("--tracker", required=True, metavar="HOST:PORT")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=FIRST_PORT)
    parser.add_argument("--tracker-wait", type=float, default=TRACKER_WAIT_S, metavar="SECONDS")
    parser.add_argument("--emulated", metavar="CPU")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process does")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    if given.parent is not None:
        die_with_parent(given.parent)
    try:
        service = ServeSettings(
            key=given.key,
            tracker=Address.parse(given.tracker),
            listen=Address(given.host, given.port),
            emulated_cpu=given.emulated,
            tracker_wait_s=given.tracker_wait,
        )
        if warning := exposure_warning(service.listen):
            print(f"warning: {warning}", file=sys.stderr)
        serve_board(service, _say)
    except AdaspringError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _say(ready: ServedBoard) -> None:
    print(json.dumps(ready_record(ready)), flush=True)


def ready_record(ready: ServedBoard) -> dict[str, object]:
    """Give what a machine is told when the board is ready."""
    return {
        "key": ready.key,
        "address": str(ready.address),
        "board": msgspec.to_builtins(ready.board),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
