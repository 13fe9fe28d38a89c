"""Ctrl-C that does not get lost in TVM.

Where TVM's C++ has called back into Python, a KeyboardInterrupt goes on as a RuntimeError without
text, which whoever tries a schedule takes for one that does not fit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_interrupted = threading.Event()


@contextmanager
def keep_interrupts() -> Iterator[None]:
    """Remember Ctrl-C: the block ends with KeyboardInterrupt, whatever TVM made of the first.

    Long loops inside call `check`. Does nothing outside the main thread, or where the program
    handles the signal in its own way.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _interrupted.clear()
    signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
        check()
    except Exception:
        check()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _interrupted.clear()


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed inside `keep_interrupts`."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _on_interrupt(_number: int, _frame: object) -> None:
    _interrupted.set()
    raise KeyboardInterrupt
