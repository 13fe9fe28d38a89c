"""TVM's tracker, in the foreground of this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ....errors import RuntimeMissing
from ....library.native import ffi  # noqa: F401 (tvm_ffi without torch, before tvm imports it)
from ..process_exit import exit_on_sigterm
from ..protocol import Address, enable_keepalive, listen


def run_tracker(address: Address, ready: Callable[[Address], None]) -> None:
    """Keep track of boards until interrupted; `ready` hears once where.

    Raises:
        BoardError: the port is taken; RuntimeMissing: apache-tvm or tornado is not installed.

    """
    exit_on_sigterm()
    with listen(address, "the tracker") as listening:
        enable_keepalive(listening)  # a board without power does not say good-bye
        os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")  # the tracker needs no compiler
        try:
            from tvm.rpc.tracker import TrackerServerHandler
        except ImportError as error:
            raise RuntimeMissing(
                "the tracker needs apache-tvm and tornado; pip install 'adaspring[compiler]'"
            ) from error
        asyncio.set_event_loop(asyncio.new_event_loop())
        handler = TrackerServerHandler(listening, stop_key="")
        ready(Address(address.host, listening.getsockname()[1]))
        handler.run()
