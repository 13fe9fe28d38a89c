"""Ctrl-C that does not get lost in TVM.

Where TVM's C++ has called back into Python, a KeyboardInterrupt goes on as a RuntimeError without
text, which whoever tries a schedule takes for one that does not fit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_pressed = threading.Event()


@contextmanager
def heeded() -> Iterator[None]:
    """Remember Ctrl-C: what is inside ends with KeyboardInterrupt, whatever became of the first.

    Long loops inside call `check`. Does nothing outside the main thread, or where the program
    handles the signal in its own way.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _pressed.clear()
    signal.signal(signal.SIGINT, _press)
    try:
        yield
        check()
    except Exception:
        check()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pressed.clear()


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed inside `heeded`."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _press(_number: int, _frame: object) -> None:
    _pressed.set()
    raise KeyboardInterrupt
