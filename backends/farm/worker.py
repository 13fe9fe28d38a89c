"""What runs inside a worker process: getting ready, and carrying out one call."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import resource
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The status of a worker that ended because its call used up the memory.
OUT_OF_MEMORY_STATUS = errno.ENOMEM

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Setting:
    """How a worker is to be: whose it is, where it writes, what it may use."""

    parent_pid: int
    folder: Path
    memory_bytes: int | None
    initializer: Callable[[], object] | None


@dataclass(frozen=True)
class Outcome:
    """What a call gave: its value, or the exception that it raised."""

    value: Any = None
    error: Exception | None = None


def start(setting: Setting) -> None:
    """Make this worker ready: it dies with its parent, and its output goes to a file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != setting.parent_pid:
        os._exit(0)  # the parent was gone before that
    output = os.open(log_file(setting.folder, os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    tempfile.tempdir = str(setting.folder)  # what a killed worker leaves goes with the farm
    if setting.memory_bytes is not None:
        # Not RLIMIT_AS: LLVM and thread stacks reserve far more addresses than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (setting.memory_bytes, setting.memory_bytes))
    if setting.initializer is not None:
        setting.initializer()


def log_file(folder: Path, pid: int) -> Path:
    """Where a worker's standard output and error go."""
    return folder / f"{pid}.log"


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
    """Carry out one call; a worker whose memory ran out ends, since it may have lost some."""
    try:
        return Outcome(value=function(*args, **kwargs))
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except Exception as error:
        if "bad_alloc" in str(error):  # C++'s, as TVM hands it on
            os._exit(OUT_OF_MEMORY_STATUS)
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return Outcome(error=_portable(error))


def _portable(error: Exception) -> Exception:
    """The exception, or where it cannot be sent, a RuntimeError with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
