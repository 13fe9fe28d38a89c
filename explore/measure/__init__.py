"""Variants run and timed, in processes of their own that answer in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


class ChildFailed(Exception):
    """A process ended without an answer; its last line, or the signal that ended it."""


def answer_of(module: str, *arguments: object) -> Any:
    """What `python -m adaspring.MODULE ARGUMENT …` prints, from JSON; ChildFailed if it fails."""
    command = [sys.executable, "-m", f"adaspring.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"signal {-done.returncode}"]
        raise ChildFailed(reason[0])
    return json.loads(done.stdout)
