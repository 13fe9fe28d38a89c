"""`python -m adaspring.backends.rpc.tracker`: the tracker without the command line."""

from __future__ import annotations

import argparse
import sys

from ....errors import AdaspringError
from ..process_exit import die_with_parent
from ..protocol import DEFAULT_TRACKER_PORT, Address
from .tracker import run_tracker


def main(arguments: list[str]) -> int:
    """Keep track until interrupted; the exit status. The one line on stdout is the address."""
    parser = argparse.ArgumentParser(prog="python -m adaspring.backends.rpc.tracker")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_TRACKER_PORT)
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process does")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with_parent(given.parent)
    try:
        run_tracker(Address(given.host, given.port), lambda where: print(where, flush=True))
    except AdaspringError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
