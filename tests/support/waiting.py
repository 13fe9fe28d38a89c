"""Waiting for what must become true, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(found: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether it becomes true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what must become true."""
    assert eventually(true, seconds), f"not true within {seconds:g} s"
